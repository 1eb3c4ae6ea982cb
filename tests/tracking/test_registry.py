"""The registry: versions, the alias, and adapters that are the same system again in another process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wikillama.errors import InputError
from wikillama.model.adapters import attach
from wikillama.model.base import load_base
from wikillama.tracking.loading import load_adapter
from wikillama.tracking.registry import adapter_folder, register
from wikillama.tracking.run import open_client

IDS = torch.arange(5, 105)[None]
FRESH = """
import sys, torch
from wikillama import load_adapter
torch.set_num_threads(1)
bot = load_adapter(*sys.argv[1:3], accelerator="cpu")
with torch.inference_mode():
    torch.save(bot.model(torch.arange(5, 105)[None]).logits, sys.argv[3])
print(repr(bot.reply(["Do you like cars?"], ["Cars have wheels."])))
"""


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def test_versions_count_up_and_the_alias_moves(
    job: Callable[..., Any], logged: Callable[..., Any], store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for number in ("1", "2"):
        (folder / "note").write_text(number)
        run = logged(job(), folder)
        version = register(run, "counted", "candidate", {"rank": number})
        assert (version.name, version.number, version.alias) == ("counted", number, "candidate")
        found = open_client(store).get_model_version_by_alias("counted", "candidate")
        assert (str(found.version), found.run_id, found.tags["rank"]) == (number, run.id, number)
    register(run, "counted", None, {})
    held = {
        uri: (adapter_folder(uri, store) / "note").read_text()
        for uri in ("models:/counted@candidate", "models:/counted/1", f"runs:/{run.id}/adapter", str(folder))
    }
    assert list(held.values()) == ["2", "1", "2", "2"]


@pytest.mark.parametrize(
    "uri", ["models:/nope@candidate", "models:/nope/1", "models:/nope", "runs:/nope/adapter", "/nope", "nope"]
)
def test_what_is_not_there_is_refused(store: str, uri: str) -> None:
    with pytest.raises(InputError, match=uri):
        adapter_folder(uri, store)


def test_a_run_without_an_adapter_is_refused(job: Callable[..., Any], logged: Callable[..., Any], store: str,
                                             tmp_path: Path) -> None:  # fmt: skip
    run = logged(job(), Path(__file__))
    with pytest.raises(InputError, match="nothing"):
        adapter_folder(f"runs:/{run.id}/nothing", store)
    with pytest.raises(InputError, match=r"no wikillama\.json"):
        load_adapter(str(tmp_path), store)


@pytest.mark.parametrize("damage", ["{", '{"model": 1}', ""])
def test_a_broken_recipe_is_refused(
    job: Callable[..., Any], adapter: Callable[..., Any], store: str, damage: str
) -> None:
    _, folder = adapter(job())
    (folder / "wikillama.json").write_text(damage)
    with pytest.raises(InputError, match=r"wikillama\.json: broken"):
        load_adapter(str(folder), store)


def test_a_fresh_process_computes_the_same(
    job: Callable[..., Any], adapter: Callable[..., Any], logged: Callable[..., Any], store: str, tmp_path: Path
) -> None:
    model, folder = adapter(job("quantization=nf4"))
    register(logged(job(), folder), "fresh", "candidate", {})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FRESH, "models:/fresh@candidate", store, "logits.pt"],
        cwd=elsewhere, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = torch.load(elsewhere / "logits.pt", weights_only=True)
    assert float((theirs - logits(model)).abs().max()) == 0.0
    assert [entry.name for entry in elsewhere.iterdir()] == ["logits.pt"]  # no store was made beside it


def test_another_base_is_refused(
    compose: Callable[..., Any], job: Callable[..., Any], adapter: Callable[..., Any], store: str, tmp_path: Path
) -> None:
    """The same shape with one byte changed."""
    random = job("peft=none")
    base = load_base(random.model, random.quantization, torch.device("cpu"), torch.float32, random.cache_dir)
    attach(base.model, random.peft, base.id).save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    cfg = job("model.source=hub", "model.weights=pretrained", f"model.path={tmp_path}/base")
    model, folder = adapter(cfg)
    assert torch.equal(logits(load_adapter(str(folder), store, "cpu").model), logits(model))
    weights = tmp_path / "base" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="use the weights it was trained on"):
        load_adapter(str(folder), store, "cpu")
