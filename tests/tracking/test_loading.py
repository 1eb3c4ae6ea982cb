"""Adapters loaded: what is refused, in one line, and what only warns."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wikillama.errors import InputError
from wikillama.model.adapters import attach
from wikillama.model.base import load_base
from wikillama.model.recipe import read_recipe
from wikillama.tracking.loading import load_adapter

CPU = torch.device("cpu")
IDS = torch.arange(5, 105)[None]
WEIGHTS = "adapter_model.safetensors"


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


@pytest.fixture
def on_disk(job: Callable[..., Any], tmp_path: Path) -> Callable[[], Any]:
    """A base in a folder, which can be changed, and the configuration of a job on it."""
    random = job("peft=none")
    base = load_base(random.model, random.quantization, CPU, torch.float32, random.cache_dir)
    attach(base.model, random.peft, base.id).save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    return job("model.source=hub", "model.weights=pretrained", f"model.path={tmp_path}/base")


def flip(file: Path, place: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def test_another_base_is_refused_or_with_leave_only_warned_of(
    on_disk: Any, adapter: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, folder = adapter(on_disk)
    assert torch.equal(logits(load_adapter(str(folder), accelerator="cpu").model), logits(model))
    flip(tmp_path / "base" / "model.safetensors")
    with pytest.raises(InputError, match=r"was trained on local/base with weights .* but the base here has") as caught:
        load_adapter(str(folder), accelerator="cpu")
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        bot = load_adapter(str(folder), accelerator="cpu", strict_base=False)
    (warned,) = (record.message for record in caplog.records)
    assert warned.startswith(f"{folder} was trained on local/base with weights ")
    assert "its replies will not be those that were evaluated" in warned
    assert (logits(bot.model) - logits(model)).abs().max() < 0.1


def test_a_base_that_has_moved(on_disk: Any, adapter: Callable[..., Any], tmp_path: Path) -> None:
    model, folder = adapter(on_disk)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{tmp_path}/base"):
        load_adapter(str(folder), accelerator="cpu")
    bot = load_adapter(str(folder), accelerator="cpu", base_path=str(tmp_path / "elsewhere"))
    assert torch.equal(logits(bot.model), logits(model))


@pytest.mark.parametrize("place", [20, 5000, -1])
def test_a_flipped_bit_is_refused(job: Callable[..., Any], adapter: Callable[..., Any], place: int) -> None:
    _, folder = adapter(job())
    flip(folder / WEIGHTS, place)
    with pytest.raises(InputError, match=f"{WEIGHTS}: damaged or changed since it was saved"):
        load_adapter(str(folder), accelerator="cpu")


def test_so_is_a_file_that_ends_early_or_is_missing(job: Callable[..., Any], adapter: Callable[..., Any]) -> None:
    _, folder = adapter(job())
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged or changed"):
        load_adapter(str(folder), accelerator="cpu")
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match="is missing"):
        load_adapter(str(folder), accelerator="cpu")


def test_a_configuration_that_is_missing_or_broken(job: Callable[..., Any], adapter: Callable[..., Any]) -> None:
    _, folder = adapter(job())
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match=r"adapter_config\.json: broken"):
        load_adapter(str(folder), accelerator="cpu")
    (folder / "adapter_config.json").unlink()
    with pytest.raises(InputError, match=r"adapter_config\.json: missing"):
        load_adapter(str(folder), accelerator="cpu")


@pytest.mark.parametrize(
    ("theirs", "ours"), [("hidden_size=128", "hidden_size=64"), ("num_hidden_layers=2", "num_hidden_layers=1")]
)
def test_an_adapter_of_another_architecture(
    job: Callable[..., Any], adapter: Callable[..., Any], theirs: str, ours: str
) -> None:
    """The weights of one adapter beside the recipe of another, with the hash that goes with them."""
    _, folder = adapter(job(f"model.architecture.{theirs}"))
    files = {name: (folder / name).read_bytes() for name in (WEIGHTS, "adapter_config.json")}
    _, folder = adapter(job(f"model.architecture.{ours}"))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    read_recipe(folder).write(folder)
    with pytest.raises(InputError, match="cannot be put onto this base model") as caught:
        load_adapter(str(folder), accelerator="cpu")
    assert len(str(caught.value)) < 600


def test_no_backend_for_the_quantization(
    job: Callable[..., Any], adapter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = adapter(job("quantization=nf4"))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as if it were not installed
    with pytest.raises(InputError, match="quantization=nf4 needs bitsandbytes, which cannot be imported here"):
        load_adapter(str(folder), accelerator="cpu")


def test_the_store_that_mlflow_is_told_of(
    job: Callable[..., Any],
    adapter: Callable[..., Any],
    logged: Callable[..., Any],
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, folder = adapter(job())
    run = logged(job(), folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    bot = load_adapter(f"runs:/{run.id}/adapter", accelerator="cpu")
    assert torch.equal(logits(bot.model), logits(model))
