"""How runs are called, and what their page says that they are."""

from collections.abc import Callable
from typing import Any

import pytest

from wikillama.tracking.description import about, kind_of, name_of


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), "llama2_7b qlora r12 nf4"),
        (("model=llama2_13b", "peft=dora", "quantization=int8", "peft.r=4"), "llama2_13b dora r4 int8"),
        (("model=tiny", "peft=rslora", "knowledge=retrieved"), "tiny rslora r12 retrieved knowledge"),
        (("model=tiny", "peft=none", "knowledge=none"), "tiny all weights no knowledge"),
    ],
)
def test_a_training_run_is_named_by_what_it_trains(
    compose: Callable[..., Any], overrides: tuple[str, ...], name: str
) -> None:
    assert name_of(compose(*overrides)) == name


def test_an_evaluation_is_named_by_what_it_compares(compose: Callable[..., Any]) -> None:
    cfg = compose("suite=qa200", "knowledge=none", "systems=[base,models:/wiki-llama@candidate]", name="evaluate")
    assert name_of(cfg) == "qa200, none knowledge: base, wiki-llama@candidate"
    assert (
        len(name_of(compose(f"systems=[{','.join(f'runs:/{n}/adapter' for n in range(99))}]", name="evaluate"))) <= 120
    )


def test_kinds(compose: Callable[..., Any]) -> None:
    assert [kind_of(compose(name=name)) for name in ("train", "evaluate", "prepare")] == [
        "train",
        "evaluate",
        "prepare",
    ]
    assert name_of(compose(name="prepare")) is None


def test_about_training(compose: Callable[..., Any]) -> None:
    said = about(compose("experiment=demo", "knowledge=retrieved", "quantization.double_quant=false"))
    assert "**LoRA of rank 16 on all linear layers** on **smollm2_135m (NF4)**" in said
    assert "on **wow_mini**, 96 turns of it, with **retrieved** knowledge" in said
    said = about(compose("peft=dora", "peft.target_modules=[q_proj,v_proj]", "quantization=int8"))
    assert "**DoRA of rank 12 on q_proj, v_proj** on **llama2_7b (INT8)**" in said
    assert "double quantization" in about(compose())
    assert "**all weights** on **tiny (not quantized, random weights)**" in about(compose("model=tiny", "peft=none"))


def test_about_evaluation(compose: Callable[..., Any]) -> None:
    said = about(compose("suite=qa200", "systems=[base,models:/a@b]", name="evaluate"))
    assert said.startswith("Compares `base`, `models:/a@b` on **qa200** with **gold** knowledge")
    assert about(compose(name="prepare")) == ""
