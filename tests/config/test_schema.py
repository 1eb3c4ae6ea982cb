"""Every file under conf/ composes into a valid configuration, and the schema knows its limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from wikillama.config.paths import CONF, ROOT, portable
from wikillama.config.rules import check_train
from wikillama.errors import InputError

FILES = sorted(CONF.rglob("*.yaml"))
CHOICES = [path.relative_to(CONF).with_suffix("") for path in FILES if path.parent != CONF]


def groups(entry: str) -> set[str]:
    """The groups that an entry configuration offers."""
    defaults = yaml.safe_load((CONF / f"{entry}.yaml").read_text(encoding="utf-8"))["defaults"]
    names = {group for default in defaults if isinstance(default, dict) for group in default}
    return {name.removeprefix("override ") for name in names}


ENTRIES = ("train", "evaluate", "prepare")
GROUPS = {entry: groups(entry) for entry in ENTRIES}
UNTRAINED = {"paper_base"}  # experiments of evaluate.py
EXPERIMENTS = {path.stem for path in (CONF / "experiment").glob("*.yaml")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_file_opens_with_a_comment(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_choice_composes(compose: Callable[..., Any], choice: Path) -> None:
    group = str(choice.parent)
    of_evaluate = group == "experiment" and choice.name in UNTRAINED
    entry = "evaluate" if of_evaluate else next(name for name in ENTRIES if group in GROUPS[name])
    compose(f"{group}={choice.name}", name=entry)


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_configuration_composes(compose: Callable[..., Any], name: str) -> None:
    assert compose(name=name).seed == 0


@pytest.mark.parametrize("experiment", sorted(EXPERIMENTS - UNTRAINED))
def test_experiment_passes_all_checks(compose: Callable[..., Any], experiment: str) -> None:
    cfg = compose(f"experiment={experiment}", f"data.path={ROOT / 'data' / 'wow_mini'}")
    check_train(cfg)
    assert cfg.tracking.run_name == experiment


def test_the_studys_base_is_compared_not_trained(compose: Callable[..., Any]) -> None:
    cfg = compose("experiment=paper_base", name="evaluate")
    assert (cfg.systems, cfg.model.name, cfg.quantization.type) == (["base"], "llama2_7b_chat", "none")
    assert (cfg.suite.name, cfg.tracking.run_name) == ("qa200", "paper_base")
    with pytest.raises(InputError, match=r"systems=\['base'\] .* evaluate\.py"):
        compose("experiment=paper_base")


def test_headline_job_is_the_default(compose: Callable[..., Any]) -> None:
    cfg = compose()
    assert (cfg.model.name, cfg.data.name, cfg.peft.method, cfg.peft.r) == ("llama2_7b", "wow", "qlora", 12)
    assert (cfg.quantization.type, cfg.quantization.double_quant) == ("nf4", True)
    assert cfg.prompt.template == "llama2_chat"


def test_paper_qlora_keeps_the_studys_settings(compose: Callable[..., Any]) -> None:
    cfg = compose("experiment=paper_qlora")
    assert (cfg.peft.r, cfg.peft.alpha, cfg.peft.dropout, cfg.peft.target_modules) == (
        64,
        16,
        0.1,
        ["q_proj", "v_proj"],
    )
    assert (cfg.quantization.type, cfg.quantization.double_quant) == ("nf4", False)
    assert (cfg.optim.name, cfg.optim.lr, cfg.optim.weight_decay) == ("paged_adamw_32bit", 2e-4, 0.001)
    assert (cfg.schedule.name, cfg.schedule.warmup_ratio) == ("constant", 0.03)
    assert (cfg.trainer.max_epochs, cfg.trainer.batch_size, cfg.trainer.gradient_clip_norm) == (1, 4, 0.3)


@pytest.mark.parametrize(
    ("peft", "quantization"),
    [("qlora", "nf4"), ("lora", "none"), ("dora", "none"), ("rslora", "none"), ("none", "none")],
)
def test_peft_brings_its_quantization(compose: Callable[..., Any], peft: str, quantization: str) -> None:
    assert compose(f"peft={peft}").quantization.type == quantization
    assert compose(f"peft={peft}", "quantization=fp4").quantization.type == "fp4"


def test_rows_are_as_long_as_examples_unless_told_otherwise(compose: Callable[..., Any]) -> None:
    assert compose().packing.strategy == "none"
    packing = compose("packing=bestfit", "data.max_length=640").packing
    assert (packing.strategy, packing.length) == ("bestfit", 640)
    assert compose("packing=bestfit", "packing.length=8192").packing.length == 8192


@pytest.mark.parametrize("split", ["train", "valid_seen", "test_unseen"])
def test_held_out_turns_see_what_they_are_told_to(compose: Callable[..., Any], split: str) -> None:
    mixed = compose("knowledge=mixed").knowledge
    assert mixed.for_split(split).mode == ("mixed" if split == "train" else "retrieved")
    assert mixed.for_split(split).k == mixed.k
    assert compose("knowledge=shuffled").knowledge.for_split(split).mode == "shuffled"


@pytest.mark.parametrize("name", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("suite=wow_seen", ("wow", "wow_seen", "test_seen")),
        ("suite=wow_unseen", ("wow", "wow_unseen", "test_unseen")),
        ("suite=wow_mini_seen", ("wow_mini", "wow_mini_seen", "test_seen")),
        ("suite=wow_mini_unseen", ("wow_mini", "wow_mini_unseen", "test_unseen")),
        ("suite=wow_seen data=jsonl", ("jsonl", "jsonl_seen", "test_seen")),  # data= wins, and the name says so
    ],
)
def test_suite_brings_its_data(compose: Callable[..., Any], name: str, overrides: str, expected: tuple[str]) -> None:
    cfg = compose(*overrides.split(), name=name)
    assert (cfg.data.name, cfg.suite.name, cfg.suite.split) == expected


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optim.lr=0", "optim.lr"),
        ("optim.beta1=1.0", "optim.beta1"),
        ("peft.dropout=1.0", "peft.dropout"),
        ("peft.target_modules=some", "peft.target_modules"),
        ("data.holdout=0.5", "data.holdout"),
        ("data.limit_train=0", "data.limit_train"),
        ("trainer.max_epochs=two", "trainer.max_epochs"),
        ("trainer.precision=8", "trainer.precision"),
        ("knowledge.mode=all", "knowledge.mode"),
        ("suite.split=train", "suite.split"),
        ("prompt.layout=letter", "prompt.layout"),
        ("packing.strategy=firstfit", "packing.strategy"),
        ("packing.length=0", "packing.length"),
        ("data.turns=some", "data.turns"),
        ("data.on_bad_row=hide", "data.on_bad_row"),
        ("+knowledge.k=0", "knowledge.k"),
        ("+knowledge.dropout=1.0", "knowledge.dropout"),
        ("+knowledge.held_out=mixed", "knowledge.held_out"),
        ("+model.wheels=1", "model.wheels: unknown key"),
        ("~optim.lr", "optim.lr: missing"),
        ("seed=-1", "seed"),
    ],
)
def test_value_outside_its_limits_is_named(compose: Callable[..., Any], override: str, key: str) -> None:
    with pytest.raises(InputError) as caught:
        compose(override)
    assert key in str(caught.value)


def test_all_problems_stand_in_one_line(compose: Callable[..., Any]) -> None:
    with pytest.raises(InputError) as caught:
        compose("peft.r=0", "seed=abc")
    assert "peft.r=0" in str(caught.value)
    assert "seed='abc'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_configuration_is_frozen_and_survives_yaml(compose: Callable[..., Any]) -> None:
    cfg = compose("experiment=demo")
    with pytest.raises(pydantic.ValidationError):
        cfg.seed = 1
    assert type(cfg).model_validate(yaml.safe_load(yaml.safe_dump(cfg.model_dump()))) == cfg


def test_portable_hides_the_home_directory() -> None:
    assert portable(f"{Path.home()}/data") in ("~/data", "/data")
    assert portable("elsewhere/data") == "elsewhere/data"
