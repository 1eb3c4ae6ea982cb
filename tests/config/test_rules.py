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
    "model.weights=random": "tracking.register_as=null",
    "model=tiny model.weights=pretrained": "model.weights=random",
    "model.hub_id=null": "model.hub_id",
    "model=smollm2_135m model.wheel=null": "model.wheel",
    "model.tokenizer=/nope": "model.tokenizer=/nope",
    "model=smollm2_135m data.max_length=100000": "data.max_length=100000",
    "data.valid=/nope": "data.valid=/nope",
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
    ],
)
def test_train_accepts(compose: Callable[..., Any], overrides: str) -> None:
    check_train(compose(MINI, *overrides.split()))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [("data.path=/nope", "data.path=/nope"), ("data=wow", "data.path=FOLDER"), ("data=jsonl", "data.train=FILE.jsonl")],
)
@pytest.mark.parametrize(("name", "check"), [("evaluate", check_evaluate), ("prepare", check_prepare)])
def test_other_jobs_refuse_missing_data(
    compose: Callable[..., Any], name: str, check: Callable[[Any], None], overrides: str, named: str
) -> None:
    cfg = compose(overrides, *(["suite=seen"] if name == "evaluate" else []), name=name)
    with pytest.raises(InputError) as caught:
        check(cfg)
    assert named in str(caught.value)


def test_evaluate_refuses_a_system_named_twice(compose: Callable[..., Any]) -> None:
    check_evaluate(compose("systems=[base,other]", name="evaluate"))
    with pytest.raises(InputError, match="base is named twice"):
        check_evaluate(compose("systems=[base,other,base]", name="evaluate"))


def test_jsonl_split_may_not_be_a_folder(compose: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.train=.*: a folder"):
        check_train(compose("data=jsonl", f"data.train={tmp_path}"))


def test_model_path_needs_a_config(compose: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json there"):
        check_train(compose(MINI, f"model.path={tmp_path}"))
    (tmp_path / "config.json").write_text("{}")
    check_train(compose(MINI, f"model.path={tmp_path}"))
