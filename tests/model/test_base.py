"""Base models: what is quantized, what is frozen, and folders that are not what the configuration says."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from transformers import GPT2Config, LlamaConfig

from wikillama.data.hashing import file_sha256
from wikillama.errors import InputError
from wikillama.model.adapters import attach
from wikillama.model.base import Base, load_base
from wikillama.model.files import weights_sha256

CPU = torch.device("cpu")
FOLDER = ["model=tiny", "model.source=hub", "model.weights=pretrained"]


@pytest.fixture(scope="module")
def saved(compose: Callable[..., Any], tiny: Callable[..., Base], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in Hugging Face layout."""
    base, folder = tiny("peft=none"), tmp_path_factory.mktemp("base") / "a-llama"
    attach(base.model, compose("peft=none").peft, base.id).save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bit_reaches_every_linear_layer_but_the_head(tiny: Callable[..., Base], kind: str, double: bool) -> None:
    model = tiny(f"quantization={kind}", f"quantization.double_quant={double}").model
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    head = linear.pop("lm_head")
    assert type(head) is torch.nn.Linear
    assert head.weight.dtype == torch.float32
    assert len(linear) == 2 * 7
    for layer in linear.values():
        assert isinstance(layer, Linear4bit)
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.quant_state.quant_type == kind
        assert layer.weight.quant_state.nested is double  # type: ignore[attr-defined]
    assert not any(p.requires_grad for p in model.parameters())


def test_int8_and_none(tiny: Callable[..., Base]) -> None:
    eight = tiny("peft=lora", "quantization=int8").model
    assert sum(isinstance(m, Linear8bitLt) for m in eight.modules()) == 2 * 7
    plain = tiny("peft=lora").model
    assert {p.dtype for p in plain.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in plain.parameters())


def test_quantized_weights_stay_close(tiny: Callable[..., Base]) -> None:
    plain, four = tiny("peft=lora").model, tiny("peft=qlora").model
    ids = torch.arange(64)[None]
    with torch.no_grad():
        exact, near = plain(ids).logits, four(ids).logits
    assert not torch.equal(exact, near)
    assert torch.corrcoef(torch.stack((exact.flatten(), near.flatten())))[0, 1] > 0.9


def test_a_local_folder_is_loaded_as_it_is(compose: Callable[..., Any], tiny: Callable[..., Base], saved: Path) -> None:
    cfg = compose(*FOLDER, f"model.path={saved}", "peft=lora")
    base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
    assert base.id == "local/a-llama"
    assert base.weights_hash == weights_sha256(saved)
    ids = torch.arange(64)[None]
    with torch.no_grad():
        assert torch.equal(base.model(ids).logits, tiny("peft=lora").model(ids).logits)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (LlamaConfig(hidden_size=96, num_hidden_layers=2), "hidden_size 96 instead of 64"),
        (GPT2Config(), "a gpt2 model"),
    ],
    ids=["another shape", "another architecture"],
)
def test_another_model_is_refused(compose: Callable[..., Any], tmp_path: Path, config: Any, says: str) -> None:
    config.save_pretrained(tmp_path)
    cfg = compose(*FOLDER, f"model.path={tmp_path}")
    with pytest.raises(InputError, match=says):
        load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)


def test_a_broken_config_is_refused(compose: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "lla')
    cfg = compose(*FOLDER, f"model.path={tmp_path}")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)


def test_broken_weights_are_refused(compose: Callable[..., Any], saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(saved, folder)
    (folder / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:5000])
    cfg = compose(*FOLDER, f"model.path={folder}")
    with pytest.raises(InputError, match="its weights cannot be read"):
        load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)


def test_the_hash_sees_every_byte_and_every_name(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "model.safetensors", tmp_path / "model.safetensors")
    assert weights_sha256(tmp_path) == weights_sha256(saved)
    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")
    assert weights_sha256(tmp_path) != weights_sha256(saved)
    (tmp_path / "other.safetensors").rename(tmp_path / "model.safetensors")
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    assert weights_sha256(tmp_path) != weights_sha256(saved)


def test_blobs_of_the_hubs_cache_are_not_read_again(saved: Path, tmp_path: Path) -> None:
    """The cache names a blob by its sha256, so that the hash of a link equals that of the file."""
    blob = tmp_path / file_sha256(saved / "model.safetensors")
    blob.touch()
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.safetensors").symlink_to(blob)
    assert weights_sha256(snapshot) == weights_sha256(saved)


def test_a_folder_without_safetensors_is_refused(compose: Callable[..., Any], saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    cfg = compose(*FOLDER, f"model.path={tmp_path}")
    with pytest.raises(InputError, match=r"no \.safetensors"):
        load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
