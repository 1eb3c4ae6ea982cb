"""`promote` after a later evaluation that names the version in its own way."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from wikillama.config.schema import EvaluateConfig
from wikillama.errors import InputError
from wikillama.jobs.evaluate import evaluate
from wikillama.tracking.registry.evaluations import SYSTEMS_TAG, Key, evaluations
from wikillama.tracking.registry.versions import find_version


@pytest.fixture
def unasked(place: Any, first: Any) -> Any:
    """The adapter of version 1 under another name, as if its run had never been asked anything."""
    one, run_id = find_version(place.client, "wiki-llama", "1"), first.trained.run_id
    place.client.create_registered_model("unasked")
    tags = {"fingerprint": one.tags["fingerprint"], "knowledge": "gold"}
    made = place.client.create_model_version("unasked", one.source, run_id=run_id, tags=tags)
    asked = place.client.get_run(run_id).data.tags[SYSTEMS_TAG]
    place.client.set_tag(run_id, SYSTEMS_TAG, "[]")
    yield find_version(place.client, "unasked", str(made.version))
    place.client.set_tag(run_id, SYSTEMS_TAG, asked)
    place.client.delete_registered_model("unasked")


def test_a_later_evaluation_counts(registry: Callable[..., str], place: Any, unasked: Any) -> None:
    words = ["promote", "version=1", "alias=champion", "tracking.register_as=unasked"]
    with pytest.raises(InputError, match=r"version 1 has no evaluation: run .* or give force=true"):
        registry(*words)
    asked = ["systems=['models:/unasked/1']", "suite=qa200", "suite.limit=10", "knowledge=none", "accelerator=cpu"]
    small = ["data.max_length=256", "evaluation.max_new_tokens=4"]
    evaluate(place.validated("evaluate", EvaluateConfig, [*place.base, "quantization=nf4", *asked, *small]))
    (found,) = evaluations(place.client, unasked).values()
    assert re.fullmatch(r"qa200, none knowledge, judge lexical-\d", str(found.key))
    assert found.key == Key("qa200", "none", found.key.judge)
    assert len(found.answers) == sum(found.counts or ()) == 10
    assert "unasked version 1 is champion now" in registry(*words)
    tags = find_version(place.client, "unasked", "@champion").tags
    assert tags["qa200/none/correct"] == str((found.counts or (0,))[0])


def test_force_is_written_down(registry: Callable[..., str], place: Any, unasked: Any) -> None:
    words = ["promote", f"version={unasked.version}", "alias=champion", "tracking.register_as=unasked"]
    place.client.set_model_version_tag("unasked", unasked.version, "fingerprint", "nothing")
    said = registry(*words, "force=true", "reason=the boss's own, (no figures)")
    assert "forced, although version 1 has no evaluation" in said
    tags = find_version(place.client, "unasked", "@champion").tags
    assert tags["promotion_forced"].startswith("the boss's own, (no figures) (against: version 1 has no evaluation")
    assert tags["promotion_evidence"] == "none"
