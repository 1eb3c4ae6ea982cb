"""Merging: into the base as it is, never into packed weights, and measured before and after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open

from wikillama.errors import InputError
from wikillama.jobs.registry import merging
from wikillama.model.adapters import load
from wikillama.model.base import load_base
from wikillama.model.recipe import read_recipe
from wikillama.tracking.registry import adapter_folder

CPU = torch.device("cpu")
LOSSES = ("before_loss", "unquantized_loss", "merged_loss")


@pytest.fixture(scope="module")
def out(place: Any) -> Path:
    return Path(place.folder) / "merged"


@pytest.fixture
def said(registry: Callable[..., str], first: Any, place: Any, out: Path) -> str:
    if not out.exists():
        (place.folder / "said").write_text(registry("merge", "version=1", f"out={out}", "suite=seen"))
    return (place.folder / "said").read_text()


def test_it_reports_three_losses(said: str, first: Any, place: Any) -> None:
    for row in (
        "adapter on the base as it was trained",
        "adapter on the base unquantized",
        "merged, bfloat16",
        "change",
    ):
        assert row in said
    runs = place.client.search_runs(["1"], "tags.`wikillama.merged` = 'models:/wiki-llama/1'")
    own = {name: value for name, value in runs[0].data.metrics.items() if "/merge/" in name}
    assert set(own) == {f"wow_mini_seen/merge/{name}" for name in LOSSES}
    theirs = place.client.get_run(first.trained.run_id).data.metrics
    assert {name: theirs[name] for name in own} == own
    before, unquantized, merged = (own[f"wow_mini_seen/merge/{name}"] for name in LOSSES)
    assert before == pytest.approx(theirs["wow_mini_seen/loss"], abs=1e-9)  # what training ended with
    assert unquantized != before
    assert merged == pytest.approx(unquantized, abs=5e-3)  # bfloat16 rounds to three digits
    assert merged != unquantized


def test_it_is_a_whole_model_in_bfloat16(said: str, place: Any, out: Path) -> None:
    with safe_open(out / "model.safetensors", framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118
        weights = file.get_tensor("model.layers.0.self_attn.q_proj.weight")
    adapter = adapter_folder("models:/wiki-llama/1", place.store)
    recipe = read_recipe(adapter)
    base = load_base(recipe.model, recipe.quantization.model_copy(update={"type": "none"}), CPU, torch.float32, "/no")
    before = base.model.model.layers[0].self_attn.q_proj.weight.clone()
    layer: Any = load(base.model, adapter).base_model.model.model.layers[0].self_attn.q_proj
    update = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    assert float(update.abs().max()) > 0
    assert torch.equal(weights, (before + update).bfloat16())
    card = ModelCard.load(out / "README.md")
    assert (card.data.library_name, "| merged, bfloat16 |" in card.text) == ("transformers", True)
    assert {"config.json", "tokenizer.json", "generation_config.json"} <= {file.name for file in out.iterdir()}


def test_a_failure_leaves_no_folder(
    registry: Callable[..., str], first: Any, place: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: Any) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(merging, "write_model", broken)
    with pytest.raises(InputError, match="the disk is full"):
        registry("merge", "version=1", f"out={tmp_path}/out")
    assert list(tmp_path.iterdir()) == []
    (run,) = place.client.search_runs(["1"], "attributes.status = 'FAILED'")
    assert run.data.tags["wikillama.merged"] == "models:/wiki-llama/1"
