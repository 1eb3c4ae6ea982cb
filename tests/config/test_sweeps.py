"""Every shipped sweep is a grid of jobs that pass all checks, at the scale of the demo and of Llama 2 7B."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from wikillama.config.paths import CONF, ROOT
from wikillama.config.rules import check_train
from wikillama.config.schema import direction

MINI = f"data.path={ROOT / 'data' / 'wow_mini'}"
FULL = {  # what each file says of Llama 2 7B
    "rank": "model=llama2_7b peft=qlora",
    "quantization": "model=llama2_7b peft=lora",
    "knowledge": "model=llama2_7b peft=qlora",
}


def jobs_of(sweep: str) -> list[tuple[str, ...]]:
    """The overrides of each job, as Hydra's grid makes them."""
    params = yaml.safe_load((CONF / "sweep" / f"{sweep}.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"][
        "params"
    ]
    parsed = OverridesParser.create().parse_overrides([f"{key}={values}" for key, values in params.items()])
    grid = itertools.product(*(list(override.sweep_string_iterator()) for override in parsed))
    return [tuple(f"{key}={value}" for key, value in zip(params, values, strict=True)) for values in grid]


@pytest.mark.parametrize(("sweep", "number"), [("rank", 16), ("quantization", 5), ("knowledge", 4)])
def test_each_job_passes_all_checks(compose: Callable[..., Any], sweep: str, number: int) -> None:
    jobs = jobs_of(sweep)
    assert len(jobs) == number
    for job in jobs:
        for scale in (f"experiment={sweep}_sweep", f"sweep={sweep} {FULL[sweep]}"):
            check_train(compose(MINI, *scale.split(), *job))


def test_the_grid_of_ranks_is_what_it_says(compose: Callable[..., Any]) -> None:
    found = {
        (cfg.peft.r, str(cfg.peft.target_modules), cfg.peft.use_rslora)
        for cfg in (compose(MINI, "experiment=rank_sweep", *job) for job in jobs_of("rank"))
    }
    targets = ("all-linear", "['q_proj', 'v_proj']")
    assert found == set(itertools.product((4, 8, 16, 32), targets, (False, True)))


def test_five_kinds_of_base(compose: Callable[..., Any]) -> None:
    kinds = [compose(MINI, "experiment=quantization_sweep", *job).quantization for job in jobs_of("quantization")]
    assert [(kind.type, kind.double_quant) for kind in kinds] == [
        ("none", False), ("int8", False), ("fp4", True), ("nf4", False), ("nf4", True)
    ]  # fmt: skip


def test_all_kinds_of_knowledge_are_scored_on_retrieved_knowledge(compose: Callable[..., Any]) -> None:
    modes = [compose(MINI, "experiment=knowledge_sweep", *job).knowledge for job in jobs_of("knowledge")]
    assert [mode.mode for mode in modes] == ["gold", "retrieved", "mixed", "none"]
    assert {mode.for_split("test_seen").mode for mode in modes} == {"retrieved"}


def test_experiments_can_be_stacked(compose: Callable[..., Any]) -> None:
    cfg = compose("experiment=[demo,rank_sweep]")
    assert (cfg.model.name, cfg.tracking.run_name) == ("smollm2_135m", "rank_sweep")


@pytest.mark.parametrize(
    ("objective", "expected"), [("f1", "maximize"), ("qa200/correct", "maximize"), ("ppl", "minimize")]
)
def test_a_search_knows_where_its_objective_gets_better(objective: str, expected: str) -> None:
    assert direction(objective) == expected
