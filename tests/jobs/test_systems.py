"""The systems of an evaluation: what would not load is refused before anything is asked, in one line, exit code 2."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from this_process import done_here

from wikillama.errors import InputError
from wikillama.jobs.systems import systems_of
from wikillama.model.adapters import attach, save
from wikillama.model.base import load_base
from wikillama.model.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture
def adapter(compose: Callable[..., Any], tmp_path: Path) -> Path:
    """An adapter on a base that lies in `tmp_path/base`."""
    random = compose("model=tiny", "peft=none")
    base = load_base(random.model, random.quantization, CPU, torch.float32, random.cache_dir)
    attach(base.model, random.peft, base.id).save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    place = ("model.source=hub", "model.weights=pretrained", f"model.path={tmp_path}/base")
    cfg = compose("model=tiny", "peft=lora", "quantization=none", *place)
    base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
    folder = save(attach(base.model, cfg.peft, base.id), tmp_path / "adapter")
    Recipe(
        model=cfg.model, base_id=base.id, base_weights_hash=base.weights_hash, dtype="float32",
        quantization=cfg.quantization, peft=cfg.peft, knowledge=cfg.knowledge, prompt=cfg.prompt,
        max_length=256, max_new_tokens=8,
    ).write(folder)  # fmt: skip
    return folder


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_another_base_is_refused_early_or_warned_of(
    compose: Callable[..., Any], adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = ("model=tiny", "accelerator=cpu", f"systems=[{adapter}]", f"cache_dir={tmp_path}/cache")
    (before,) = systems_of(compose(*given, name="evaluate"))
    flip(tmp_path / "base" / "model.safetensors")
    with pytest.raises(InputError, match="was trained on local/base with weights"):
        systems_of(compose(*given, name="evaluate"))
    (system,) = systems_of(compose(*given, "strict_base=false", name="evaluate"))
    assert system.fingerprint != before.fingerprint  # its answers are not taken for those of the right base
    with caplog.at_level(logging.WARNING):
        assert system.loaded.model is not None
    assert sum("but the base here has" in record.message for record in caplog.records) == 1


def test_a_damaged_adapter_ends_the_script_with_2_and_one_line(adapter: Path, tmp_path: Path) -> None:
    flip(adapter / "adapter_model.safetensors")
    given = [
        "model=tiny", f"systems=[{adapter}]", "suite=qa200", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
        f"hydra.run.dir={tmp_path}/out", f"cache_dir={tmp_path}/c",
    ]  # fmt: skip
    done = done_here("evaluate.py", given, tmp_path)
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert "adapter_model.safetensors: damaged or changed since it was saved" in said[0]
    assert "Traceback" not in done.stderr
