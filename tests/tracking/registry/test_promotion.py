"""Promotion: what is found of a version's evaluations, what is refused, and what is written down."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from wikillama.errors import InputError
from wikillama.evaluation.results import Answer, Prediction
from wikillama.tracking.registry import register
from wikillama.tracking.registry.evaluations import Key, evaluations, systems_tag
from wikillama.tracking.registry.promotion import promote, weigh
from wikillama.tracking.registry.tags import count_tags
from wikillama.tracking.registry.versions import find_version, holder_of, versions_of
from wikillama.tracking.run import TrackedRun, open_client, tracked_run

TURNS, QUESTIONS = Key("wow_mini_seen", "gold", None), Key("qa200", "gold", "lexical-1")


@dataclass(frozen=True)
class Registry:
    """Versions of a name that no other test uses."""

    client: MlflowClient
    name: str
    job: Any
    folder: Path

    def version(self, mark: str, **tags: str) -> ModelVersion:
        """A registered version whose system has the fingerprint `mark`, with a recipe but without weights."""
        with tracked_run(self.job.tracking, self.job, self.folder) as run:
            run.artifacts(self.folder / "adapter", "adapter")
        made = register(run, self.name, None, {"fingerprint": mark, **tags})
        return find_version(self.client, self.name, made.number)

    def evaluated(self, *marks: str, rows: Sequence[Sequence[Any]], suite: str, **results: Any) -> str:
        """A run that put the same suite to systems with these fingerprints; `rows` holds what each said."""
        with tracked_run(self.job.tracking, self.job, self.folder) as run:
            run.tags(systems_tag((f"models:/{mark}", f"models/{mark}", mark) for mark in marks))
            systems = [{"name": f"models:/{mark}", "metrics": {}} for mark in marks]
            self._log(run, suite, {"systems": systems, **results})
            for mark, said in zip(marks, rows, strict=True):
                kind = "answers" if isinstance(said[0], Answer) else "predictions"
                run.json_lines(said, f"{suite}/models/{mark}/{kind}.jsonl")
        return run.id

    def _log(self, run: TrackedRun, suite: str, evaluation: dict[str, Any]) -> None:
        run.text(json.dumps({"evaluation": evaluation}), f"{suite}/results.json")


@pytest.fixture
def registry(
    job: Callable[..., Any], store: str, tmp_path: Path, recipe: Callable[..., Any], request: pytest.FixtureRequest
) -> Registry:
    (tmp_path / "adapter").mkdir()
    recipe("model=tiny").write(tmp_path / "adapter")
    return Registry(open_client(store), request.node.name.split("[")[0], job("tracking.alias=null"), tmp_path)


@pytest.fixture
def turns(turn: Callable[..., Any]) -> Callable[[float], list[Prediction]]:
    return lambda f1: [turn(n, f1=f1 + 0.01 * (n % 5)) for n in range(20)]


@pytest.fixture
def questions(answer: Callable[..., Any]) -> Callable[[int, int], list[Answer]]:
    """`questions(7, 10)`: of ten answers seven are correct."""
    return lambda correct, of: [answer(n, "correct" if n < correct else "wrong") for n in range(of)]


def test_evaluations_are_found_by_what_was_asked_not_by_name(registry: Registry, turns: Any, questions: Any) -> None:
    one, other = registry.version("m1"), registry.version("m2")
    seen = registry.evaluated("m1", "m2", rows=[turns(0.5), turns(0.6)], suite="wow_mini_seen", knowledge="gold")
    few = questions(4, 5)
    registry.evaluated("m1", rows=[few], suite="qa200", knowledge="gold", judge="lexical-1")
    most = registry.evaluated("m1", rows=[questions(7, 10)], suite="qa200", knowledge="gold", judge="lexical-1")
    registry.evaluated("m1", rows=[few], suite="qa200", knowledge="gold", judge="lexical-1")
    registry.evaluated("m1", rows=[few], suite="qa200", knowledge="none", judge="lexical-1")
    found = evaluations(registry.client, one)
    assert set(found) == {TURNS, QUESTIONS, Key("qa200", "none", "lexical-1")}
    assert (found[TURNS].run_id, found[QUESTIONS].run_id) == (seen, most)
    assert found[TURNS].predictions == tuple(turns(0.5))
    assert found[QUESTIONS].counts == (7, 3, 0)
    assert set(evaluations(registry.client, other)) == {TURNS}


def test_failed_and_deleted_runs_do_not_count(registry: Registry, questions: Any) -> None:
    version = registry.version("m3")
    asked = {"suite": "qa200", "knowledge": "gold", "judge": "lexical-1"}
    registry.client.delete_run(registry.evaluated("m3", rows=[questions(9, 10)], **asked))
    failed = registry.evaluated("m3", rows=[questions(9, 10)], **asked)
    registry.client.set_terminated(failed, "FAILED")
    assert evaluations(registry.client, version) == {}


def test_tags_stand_in_where_runs_are_gone(registry: Registry) -> None:
    version = registry.version("m4", **count_tags("qa200", "gold", (7, 2, 1), "lexical-1"))
    (found,) = evaluations(registry.client, version).values()
    assert (found.key, found.counts, found.answers) == (QUESTIONS, (7, 2, 1), ())


def test_a_version_without_evaluation_is_refused(registry: Registry) -> None:
    version = registry.version("m5")
    weighed = weigh(registry.client, version, "champion")
    assert weighed.objection is not None
    assert weighed.objection.startswith("version 1 has no evaluation: run `python evaluate.py systems=")


def test_the_first_champion_needs_no_rival(registry: Registry, questions: Any) -> None:
    version = registry.version("m6")
    registry.evaluated("m6", rows=[questions(7, 10)], suite="qa200", knowledge="gold", judge="lexical-1")
    weighed = weigh(registry.client, version, "champion")
    assert (weighed.objection, weighed.verdicts) == (None, ())
    promote(registry.client, weighed, None)
    tags = find_version(registry.client, registry.name, "@champion").tags
    assert (tags["promoted_to"], tags["promoted_over"], tags["qa200/correct"]) == ("champion", "none", "7")
    assert "qa200/correct 7" in tags["promotion_evidence"]
    assert tags["promoted_by"]
    assert tags["promoted_at"].endswith("+00:00")
    assert "promotion_forced" not in tags


@pytest.fixture
def rivals(registry: Registry, turns: Any) -> tuple[Registry, ModelVersion, ModelVersion]:
    """Version 1, which is champion, and version 2, which is worse on the same turns."""
    one, two = registry.version("r1"), registry.version("r2")
    asked = {"suite": "wow_mini_seen", "knowledge": "gold"}
    registry.evaluated("r1", rows=[turns(0.6)], **asked)
    registry.evaluated("r2", rows=[turns(0.5)], **asked)
    promote(registry.client, weigh(registry.client, one, "champion"), None)
    return registry, one, two


def test_a_worse_version_is_refused_and_can_be_forced(rivals: tuple[Registry, ModelVersion, ModelVersion]) -> None:
    registry, _, two = rivals
    weighed = weigh(registry.client, two, "champion")
    assert weighed.objection is not None
    assert (
        "version 2 is worse than version 1: F1 on wow_mini_seen, gold knowledge: \N{MINUS SIGN}0.100"
        in weighed.objection
    )
    promote(registry.client, weighed, "half the size")
    champion = find_version(registry.client, registry.name, "@champion")
    assert champion.version == two.version
    assert champion.tags["promotion_forced"].startswith("half the size (against: version 2 is worse than version 1")
    assert champion.tags["promoted_over"] == "1"
    back = weigh(registry.client, find_version(registry.client, registry.name, "1"), "champion")
    assert back.objection is None
    promote(registry.client, back, None)
    assert holder_of(registry.client, registry.name, "champion").version == 1  # type: ignore[union-attr]
    assert (
        "against version 2: F1 on wow_mini_seen"
        in find_version(registry.client, registry.name, "1").tags["promotion_evidence"]
    )
    promote(registry.client, weigh(registry.client, champion, "candidate"), None)
    assert "promotion_forced" not in find_version(registry.client, registry.name, "2").tags


def test_versions_that_were_asked_other_things_are_not_compared(registry: Registry, turns: Any, questions: Any) -> None:
    one, two = registry.version("a1"), registry.version("a2")
    registry.evaluated("a1", rows=[turns(0.6)], suite="wow_mini_seen", knowledge="gold")
    registry.evaluated("a2", rows=[questions(9, 10)], suite="qa200", knowledge="gold", judge="lexical-1")
    promote(registry.client, weigh(registry.client, one, "champion"), None)
    objection = weigh(registry.client, two, "champion").objection
    assert objection is not None
    assert objection.startswith("version 2 and version 1 were not asked the same: run `python evaluate.py")


def test_later_evaluations_reach_the_card(registry: Registry, questions: Any) -> None:
    version = registry.version("c1", source="import")
    assert not version.description
    registry.evaluated("c1", rows=[questions(7, 10)], suite="qa200", knowledge="none", judge="lexical-1")
    promote(registry.client, weigh(registry.client, version, "candidate"), None)
    card = find_version(registry.client, registry.name, "@candidate").description
    assert card is not None
    assert "| qa200 | none | correct, wrong, ambiguous by lexical-1 | 7 / 3 / 0 | 10 questions |" in card


def test_versions_are_listed_and_found(registry: Registry) -> None:
    first, second = registry.version("l1"), registry.version("l2")
    registry.client.set_registered_model_alias(registry.name, "champion", first.version)
    assert [(v.version, v.aliases) for v in versions_of(registry.client, registry.name)] == [
        (second.version, []), (first.version, ["champion"])
    ]  # fmt: skip
    assert find_version(registry.client, registry.name, "@champion").version == first.version
    for wanted in ("3", "@nobody"):
        with pytest.raises(InputError, match=f"version={wanted}: .* it has 2, 1, and the aliases @champion"):
            find_version(registry.client, registry.name, wanted)
    with pytest.raises(InputError, match="no registered model of this name"):
        versions_of(registry.client, "nobody")


def test_rows_of_older_runs_are_read(registry: Registry, turns: Any) -> None:
    """Before replies carried their likelihood."""
    version = registry.version("o1")
    run_id = registry.evaluated("o1", rows=[turns(0.5)], suite="wow_mini_seen", knowledge="gold")
    old = [{k: v for k, v in asdict(each).items() if k not in ("nll", "tokens")} for each in turns(0.5)]
    lines = "".join(json.dumps(row) + "\n" for row in old)
    registry.client.log_text(run_id, lines, "wow_mini_seen/models/o1/predictions.jsonl")
    (found,) = evaluations(registry.client, version).values()
    assert {(each.f1, each.nll, each.history) for each in found.predictions} == {
        (each.f1, None, ("Hi!",)) for each in turns(0.5)
    }
