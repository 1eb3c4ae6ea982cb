"""Adapters: what is trained, what is saved, and that what is loaded is what was saved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from wikillama.errors import InputError
from wikillama.model.adapters import attach, count_trainable, load, megabytes, save, speaking_as, trainable
from wikillama.model.base import Base

FILE = "adapter_model.safetensors"
IDS = torch.arange(96).reshape(2, 48)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(IDS).logits


@pytest.mark.parametrize(
    ("overrides", "count", "size"),
    [
        (["model=llama2_7b", "peft=qlora"], 29_982_720, 60.0),
        (["experiment=paper_qlora"], 33_554_432, 67.1),
        (["model=llama2_7b", "peft=none"], 6_738_415_616, 13476.8),
    ],
)
def test_counts_of_llama2_7b(compose: Callable[..., Any], overrides: list[str], count: int, size: float) -> None:
    cfg = compose(*overrides)
    assert count_trainable(cfg.model, cfg.peft) == count
    assert round(megabytes(count), 1) == size


@pytest.mark.parametrize("peft", ["qlora", "lora", "dora", "rslora"])
def test_only_lora_weights_are_trained_in_float32(
    compose: Callable[..., Any], tiny: Callable[..., Base], peft: str
) -> None:
    cfg = compose("model=tiny", f"peft={peft}", "model.dtype=bfloat16")
    base = tiny(f"peft={peft}", "model.dtype=bfloat16").model
    before = {name: p.dtype for name, p in base.named_parameters()}
    model = attach(base, cfg.peft, "tiny")
    assert all("lora_" in name for name in trainable(model))
    assert {p.dtype for p in trainable(model).values()} == {torch.float32}
    frozen = {n: p.dtype for n, p in model.named_parameters() if not p.requires_grad}
    assert len(frozen) == len(before)  # nothing is copied, and nothing cast: embeddings and head stay bfloat16
    assert sorted(map(str, frozen.values())) == sorted(map(str, before.values()))
    assert sum(p.numel() for p in trainable(model).values()) == count_trainable(cfg.model, cfg.peft)
    scaling = model.base_model.model.model.layers[0].mlp.up_proj.scaling["default"]
    assert scaling == cfg.peft.alpha / (cfg.peft.r**0.5 if peft == "rslora" else cfg.peft.r)
    assert any("magnitude" in name for name in trainable(model)) == (peft == "dora")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("peft", ["qlora", "lora", "rslora"])
def test_a_fresh_adapter_adds_nothing(
    compose: Callable[..., Any], tiny: Callable[..., Base], peft: str, dtype: str
) -> None:
    """So that it may be switched off where the base is asked; it is trained on afterwards."""
    choice = [f"peft={peft}", f"model.dtype={dtype}"]
    base = tiny(*choice).model
    expected = logits(base)
    model = attach(base, compose("model=tiny", *choice).peft, "tiny")
    trained = trainable(model).keys()
    assert torch.equal(logits(model), expected)
    with speaking_as(model, None):
        assert torch.equal(logits(model), expected)
    assert trainable(model).keys() == trained


def test_all_weights(compose: Callable[..., Any], tiny: Callable[..., Base]) -> None:
    model = attach(tiny("peft=none").model, compose("model=tiny", "peft=none").peft, "tiny")
    assert all(p.requires_grad for p in model.parameters())
    assert len({p.untyped_storage().data_ptr() for p in model.parameters()}) == len(list(model.parameters()))


def test_unknown_target_modules_are_refused(compose: Callable[..., Any], tiny: Callable[..., Base]) -> None:
    cfg = compose("model=tiny", "peft=lora", "peft.target_modules=[q_porj]")
    with pytest.raises(InputError, match="q_porj"):
        attach(tiny("peft=lora").model, cfg.peft, "tiny")


def test_saved_in_bfloat16_and_rounded_in_memory(trained: Callable[..., Any], tmp_path: Path) -> None:
    model = trained("peft=qlora", "peft.r=128")  # so that the header does not count
    exact = {name: p.clone() for name, p in trainable(model).items()}
    save(model, tmp_path)
    count = sum(p.numel() for p in exact.values())
    assert (tmp_path / FILE).stat().st_size == pytest.approx(2 * count, rel=0.01)
    written = load_file(tmp_path / FILE)
    assert {t.dtype for t in written.values()} == {torch.bfloat16}
    assert sum(t.numel() for t in written.values()) == count
    for name, parameter in trainable(model).items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, exact[name].bfloat16().float())
        assert not torch.equal(parameter, exact[name])
    written_config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written_config["base_model_name_or_path"] == "tiny"


@pytest.mark.parametrize("peft", ["qlora", "lora", "dora", "rslora", "none"])
def test_loaded_is_bit_identical(
    tiny: Callable[..., Base], trained: Callable[..., Any], tmp_path: Path, peft: str
) -> None:
    model = trained(f"peft={peft}")
    save(model, tmp_path)
    again = load(tiny(f"peft={peft}").model, tmp_path)
    assert not any(p.requires_grad for p in again.parameters())
    assert isinstance(again, PeftModel) == (peft != "none")
    assert torch.equal(logits(again), logits(model))
    assert not torch.equal(logits(again), logits(tiny(f"peft={peft}").model))


def test_all_weights_of_a_model_with_tied_embeddings(
    tiny: Callable[..., Base], trained: Callable[..., Any], tmp_path: Path
) -> None:
    tied = ["peft=none", "model.architecture.tie_word_embeddings=true"]
    model = trained(*tied)
    save(model, tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert torch.equal(logits(load(tiny(*tied).model, tmp_path)), logits(model))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _scribbled(file: Path) -> None:
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])


def _incomplete(file: Path) -> None:
    save_file(dict(list(load_file(file).items())[:-2]), file, metadata={"format": "pt"})


def _renamed(file: Path) -> None:
    save_file({n.replace("q_proj", "x_proj"): t for n, t in load_file(file).items()}, file)


@pytest.mark.parametrize("damage", [_cut, _scribbled, _incomplete, _renamed, Path.unlink])
def test_a_damaged_adapter_is_refused(
    tiny: Callable[..., Base], trained: Callable[..., Any], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    save(trained("peft=lora"), tmp_path)
    damage(tmp_path / FILE)
    with pytest.raises(InputError, match="cannot be put onto this base model") as caught:
        load(tiny("peft=lora").model, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, "missing"),
        ('{"peft_type": "LO', "broken"),
        ('["LORA"]', "broken"),
        ('{"peft_type": "LARO"}', "broken"),
        ('{"peft_type": "LORA", "r": "eight"}', "cannot be put onto this base model"),
        ('{"peft_type": "LORA", "r": 12, "target_modules": ["q_porj"]}', "cannot be put onto this base model"),
    ],
)
def test_a_damaged_configuration_is_refused(
    tiny: Callable[..., Base], trained: Callable[..., Any], tmp_path: Path, written: str | None, said: str
) -> None:
    save(trained("peft=lora"), tmp_path)
    config = tmp_path / "adapter_config.json"
    config.unlink() if written is None else config.write_text(written)
    with pytest.raises(InputError, match=said) as caught:
        load(tiny("peft=lora").model, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("shape", ["hidden_size=128", "num_hidden_layers=1"])
@pytest.mark.parametrize("peft", ["lora", "none"])
def test_an_adapter_of_another_shape_is_refused(
    tiny: Callable[..., Base], trained: Callable[..., Any], tmp_path: Path, peft: str, shape: str
) -> None:
    save(trained(f"peft={peft}"), tmp_path)
    with pytest.raises(InputError, match="cannot be put onto this base model") as caught:
        load(tiny(f"peft={peft}", f"model.architecture.{shape}").model, tmp_path)
    assert len(str(caught.value)) < 600  # not a line for each tensor
