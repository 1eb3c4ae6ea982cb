"""Exported folders: what is in them, what others read of them, and their size for Llama 2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

from wikillama.errors import InputError
from wikillama.model.adapters import attach, save, trainable
from wikillama.model.base import architecture
from wikillama.model.recipe import read_recipe
from wikillama.tracking.registry.export import export, for_others
from wikillama.tracking.registry.versions import Version

NAMED = Version("wiki-llama", "3", None)


@pytest.fixture
def source(adapter: Callable[..., Any], job: Callable[..., Any], byte_tokenizer: Any) -> Path:
    """An adapter on the tiny base, as train.py leaves it in a run."""
    _, folder = adapter(job("quantization=nf4"))
    byte_tokenizer.save_pretrained(folder)
    for other in ("MLmodel", "notes.txt", "adapter_model.bin"):
        (folder / other).write_text("not for others")
    return Path(folder)


def test_the_folder_holds_what_others_need(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export(source, out, NAMED, read_recipe(source), {"quantization": "nf4 double"}, {})
    assert {file.name for file in out.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "README.md", "wikillama.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert (out / "adapter_model.safetensors").read_bytes() == (source / "adapter_model.safetensors").read_bytes()
    assert AutoTokenizer.from_pretrained(str(out)).encode("a") == AutoTokenizer.from_pretrained(str(source)).encode("a")
    assert "version 3" in ModelCard.load(out / "README.md").text
    assert "vLLM cannot serve it: its base has random weights" in (out / "README.md").read_text()
    assert done.obstacles == ("its base has random weights",)
    assert done.command.endswith(f"--max-lora-rank 16 --lora-modules wiki-llama={out}")


def test_nothing_is_left_where_it_fails(source: Path, tmp_path: Path) -> None:
    (source / "adapter_config.json").unlink()
    before = set(tmp_path.iterdir())
    with pytest.raises((InputError, OSError)):
        export(source, tmp_path / "out", NAMED, read_recipe(source), {}, {})
    assert set(tmp_path.iterdir()) == before


def test_damaged_weights_do_not_leave_the_house(source: Path, tmp_path: Path) -> None:
    file = source / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(InputError, match="damaged or changed"):
        export(source, tmp_path / "out", NAMED, read_recipe(source), {}, {})
    assert not (tmp_path / "out").exists()


def test_a_whole_model_is_no_adapter(recipe: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a whole model, not an adapter: use merge"):
        export(tmp_path, tmp_path / "out", NAMED, recipe("model=tiny", "peft=none"), {}, {})


@pytest.fixture(scope="module")
def llama(compose: Callable[..., Any], recipe: Callable[..., Any], tmp_path_factory: Any) -> Path:
    """The headline job's adapter: its tensors on a base that is a shape without weights."""
    cfg = compose("model=llama2_7b", "peft=qlora", "data=wow_mini")
    with torch.device("meta"):
        model = attach(LlamaForCausalLM(architecture(cfg.model, None)), cfg.peft, "meta-llama/Llama-2-7b-hf@01c7")
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                setattr(module, name, torch.nn.Parameter(torch.randn(parameter.shape)))
    assert sum(p.numel() for p in trainable(model).values()) == 29_982_720
    folder = save(model, tmp_path_factory.mktemp("llama"))
    recipe("model=llama2_7b", "peft=qlora").write(folder)
    return folder


def test_the_headline_adapter_is_60_mb(llama: Path) -> None:
    assert (llama / "adapter_model.safetensors").stat().st_size == pytest.approx(60.0e6, rel=0.01)
    with safe_open(llama / "adapter_model.safetensors", framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118
    assert sum(file.stat().st_size for file in llama.iterdir()) == pytest.approx(60.0e6, rel=0.01)
    assert not (llama / "README.md").exists()


def test_the_hub_and_vllm_find_its_base(llama: Path, tmp_path: Path) -> None:
    done = export(llama, tmp_path / "out", NAMED, read_recipe(llama), {}, {})
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == done.base == "meta-llama/Llama-2-7b-hf"
    assert config["revision"] == "01c7f73d771dfac7d292323805ebc428287df4f9"
    assert config["r"] == 12
    assert ModelCard.load(tmp_path / "out" / "README.md").data.base_model == "meta-llama/Llama-2-7b-hf"
    served = "vllm serve meta-llama/Llama-2-7b-hf --enable-lora --max-lora-rank 16 --lora-modules wiki-llama="
    assert done.command == f"{served}{tmp_path}/out"
    assert f"{served}FOLDER" in (tmp_path / "out" / "README.md").read_text()
    assert done.obstacles == ()
    assert (
        load_file(tmp_path / "out" / "adapter_model.safetensors").keys()
        == load_file(llama / "adapter_model.safetensors").keys()
    )


def test_places_of_this_machine_stay_here(recipe: Callable[..., Any]) -> None:
    local = recipe("model=llama2_7b", "model.path=/models/llama", "model.tokenizer=/models/tok")
    assert (for_others(local).model.path, for_others(local).model.tokenizer) == (None, None)
    alone = recipe("model=tiny", "model.path=/models/mine")  # the Hub has none such
    assert for_others(alone) == alone
