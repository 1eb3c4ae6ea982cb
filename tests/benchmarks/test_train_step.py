"""The measurement of the training step: its work, what its stacks compute on a CPU, its record and table."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from wikillama.config.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def of_benchmarks() -> Iterator[Any]:
    """`of_benchmarks("train_step_parts.work")`: a module of benchmarks/."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def work(of_benchmarks: Any) -> Any:
    return of_benchmarks("train_step_parts.work")


@pytest.fixture(scope="module")
def folder(work: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with random weights."""
    place: Path = tmp_path_factory.mktemp("base") / "model"
    work.make_model(place, work.TINY, torch.device("cpu"))
    return place


def test_dialogues_are_as_long_as_they_should_be(work: Any) -> None:
    lengths = list(islice(work.dialogue_lengths(0), 4000))
    assert mean(lengths) == pytest.approx(285, rel=0.03)
    assert min(lengths) >= 48
    assert max(lengths) <= 1024
    assert lengths[:5] == list(islice(work.dialogue_lengths(0), 5)) != list(islice(work.dialogue_lengths(1), 5))


def test_the_same_dialogues_packed_and_padded(work: Any) -> None:
    row = work.packed(work.dialogues("packed-2048", 3, 512, examples=0))
    assert row.batch["input_ids"].shape == (1, 2048)
    assert (row.tokens, row.real) == (2048, 2048)
    starts = int((row.batch["position_ids"] == 0).sum())
    assert int((row.batch["labels"] != -100).sum()) == 2048 - starts  # all but each dialogue's first
    made = work.dialogues("ragged", 3, 512, examples=6)
    padded, together = work.padded(made), work.packed(made)
    assert padded.real == together.real == sum(len(e.input_ids) for e in made)
    assert padded.tokens == 6 * -(-max(len(e.input_ids) for e in made) // 8) * 8 > padded.real
    with pytest.raises(ValueError, match="is no setting"):
        work.dialogues("packed-100", 0, 512, examples=1)


def test_weights_that_a_token_meets(work: Any) -> None:
    assert work.product_weights(work.LLAMA2_7B) == 6_607_077_376  # 6,738,415,616 less norms and the embedding


def test_the_base_is_made_once_and_in_the_shape_asked_for(work: Any, folder: Path) -> None:
    from safetensors.torch import load_file
    from transformers import LlamaConfig, LlamaForCausalLM

    tensors: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    with torch.device("meta"):
        expected = LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).state_dict()
    assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in expected.items()}
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    changed = (folder / "config.json").stat().st_mtime_ns
    work.make_model(folder, work.TINY, torch.device("cpu"))
    assert (folder / "config.json").stat().st_mtime_ns == changed
    with pytest.raises(ValueError, match="another shape"):
        work.make_model(folder, work.LLAMA2_7B, torch.device("cpu"))


@pytest.mark.parametrize("setting", ["packed-256", "ragged"])
def test_stacks_take_the_same_steps(of_benchmarks: Any, folder: Path, setting: str) -> None:
    timing, worker = of_benchmarks("train_step_parts.timing"), of_benchmarks("train_step_parts.worker")
    place = timing.Place(folder, torch.device("cpu"), 512, rank=4, examples=3)
    stacks = {name: worker.open_stack(name, "none", place) for name in ("reference", "fused", "peft")}
    turns = {
        (name, checkpointing): stack.turn(timing.Job(setting, checkpointing, 5, 1, 1))
        for name, stack in stacks.items()
        for checkpointing in ("none", "recompute")
    }
    for turn in turns.values():
        assert len(turn["seconds"]) == len(turn["tokens"]) == len(turn["real"]) == 1
        assert turn["seconds"][0] > 0
        assert turn["peak_gb"] > 0.05
    losses = {key: turn["first_loss"] for key, turn in turns.items()}
    assert losses["fused", "none"] == pytest.approx(losses["reference", "none"], rel=1e-6)
    assert losses["fused", "recompute"] == losses["fused", "none"]  # and so each turn began with the same adapters
    assert losses["reference", "recompute"] == pytest.approx(losses["reference", "none"], rel=1e-6)
    if setting == "ragged":  # the others pad
        assert losses["peft", "none"] == pytest.approx(losses["reference", "none"], rel=1e-6)
        assert turns["fused", "none"]["tokens"] == turns["peft", "none"]["real"] < turns["peft", "none"]["tokens"]


def turn(seconds: float, tokens: int, real: int, peak: float) -> dict[str, Any]:
    return {
        "seconds": [seconds, 2 * seconds, seconds], "tokens": [tokens] * 3, "real": [real] * 3, "peak_gb": peak,
        "first_loss": 6.0, "how": "padded",
    }  # fmt: skip


def test_rows_are_compared_with_the_peer_that_does_the_same(of_benchmarks: Any) -> None:
    table = of_benchmarks("train_step_parts.table")
    rows = [
        table.row("fused", "packed-8192", "none", [turn(0.5, 8000, 8000, 30.0), turn(0.5, 8000, 8000, 31.0)]),
        table.row("fused", "packed-8192", "recompute", [turn(0.8, 8000, 8000, 6.0)]),
        table.row("unsloth", "packed-8192", "recompute", [turn(1.0, 8000, 8000, 8.0)]),
        table.row("unsloth", "packed-8192", "recompute+offload", [turn(0.9, 8000, 8000, 5.0)]),
        table.row("trl", "ragged", "recompute", [turn(2.0, 8000, 4000, 12.0)]),
        {"stack": "unsloth", "setting": "packed-8192", "checkpointing": "none", "error": "OutOfMemoryError: too large"},
    ]
    assert rows[0]["real_tokens_per_s"] == 16_000
    assert (rows[0]["step_ms"], rows[0]["step_ms_min"], rows[0]["step_ms_max"]) == (500, 500, 1000)
    assert (rows[0]["peak_gb"], rows[0]["steps"]) == (31.0, 6)
    kept, computed, *_ = table.compared(rows, ceiling_tflops=800.0, flops_per_token=4 * 6.6e9)
    assert kept["against"] == {}
    assert kept["share_of_ceiling"] == pytest.approx(16_000 * 4 * 6.6e9 / 800e12, abs=1e-4)
    assert computed["against"]["unsloth"]["checkpointing"] == "recompute+offload"  # the faster of the two
    assert computed["against"]["unsloth"]["speed"] == pytest.approx(0.9 / 0.8, abs=1e-3)
    assert computed["against"]["unsloth"]["memory"] == pytest.approx(6 / 5)
    assert computed["against"]["trl"]["speed"] == pytest.approx(10_000 / 2_000)  # of its ragged batches


FAILING_WORKER = """
import os

import torch
from train_step_parts import worker


class Failing:
    broken = False

    def __init__(self, device):
        self.on_gpu = device.type == "cuda"

    def turn(self, job):
        if job.setting == "packed-16":
            self.run_out()
        if job.setting == "packed-32":
            self.break_device()
        if self.broken:  # for good, as a GPU's context is
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        if self.on_gpu:
            torch.ones(8, device="cuda").sum().item()
        here = str(os.getpid())
        return {"seconds": [1.0], "tokens": [8], "real": [8], "peak_gb": 1.0, "first_loss": 6.0, "how": here}

    def run_out(self):
        if self.on_gpu:
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def break_device(self):
        if self.on_gpu:
            torch.arange(4, device="cuda")[torch.tensor([9], device="cuda")].sum().item()
        self.broken = True


worker.open_stack = lambda name, checkpointing, place: Failing(place.device)
worker.main()
"""


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to break"))],
)
def test_a_fresh_process_goes_on_where_one_has_broken_its_device(
    device: str, of_benchmarks: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_worker.py").write_text(FAILING_WORKER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(of_benchmarks("train_step_parts.process"), "WORKER", "failing_worker")
    command = [
        "train_step.py", "--device", device, "--tiny", "--model", str(folder), "--stacks", "fused", "--checkpointing",
        "none", "--settings", "packed-8,packed-16,packed-24,packed-32,packed-40", "--rounds", "1",
        "--record", str(tmp_path / "record.json"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    assert of_benchmarks("train_step").main() == 0
    rows = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["rows"]
    first, no_memory, second, broken, third = rows
    assert no_memory["error"].startswith("OutOfMemoryError: CUDA out of memory. Tried to allocate")
    assert second["batches"] == first["batches"]  # the process that ran out of memory
    assert broken["error"].startswith("AcceleratorError: CUDA error: ")  # illegal access; an assertion on a GPU
    assert third["batches"] != first["batches"]


@pytest.mark.parametrize(
    ("error", "breaks"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(...)`"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), False),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (ValueError("kernels: fp8 does not fit a model with biases"), False),
    ],
)
def test_which_errors_break_a_device(of_benchmarks: Any, error: Exception, breaks: bool) -> None:
    assert of_benchmarks("train_step_parts.failures").breaks_device(error) is breaks


def test_as_a_command(folder: Path, tmp_path: Path) -> None:
    """A stack that is not there is said to be missing, and the others are measured."""
    record_file = tmp_path / "records" / "train_step.json"
    command = [
        sys.executable, str(BENCHMARKS / "train_step.py"), "--device", "cpu", "--tiny", "--model", str(folder),
        "--stacks", "fused,trl", "--checkpointing", "recompute", "--settings", "packed-256", "--rounds", "2",
        "--steps", "2", "--warmup", "1", "--rank", "4", "--record", str(record_file),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    record = json.loads(record_file.read_text(encoding="utf-8"))
    fused, trl = record["rows"]
    assert (fused["stack"], fused["setting"], fused["checkpointing"]) == ("fused", "packed-256", "recompute")
    assert fused["steps"] == 2
    assert fused["tokens_per_s"] == fused["real_tokens_per_s"] > 0
    assert fused["first_loss"] == pytest.approx(6.24, abs=0.1)  # ln 512, and a little
    assert record["ceiling"]["size"] == 256
    assert len(record["ceiling"]["measured"]) == 2
    assert record["packages"]["torch"] == version("torch")
    assert (trl["stack"], trl["setting"]) == ("trl", "ragged")
    if find_spec("trl") is None:
        assert trl["error"] == "ModuleNotFoundError: No module named 'trl'"
        assert "- trl, ragged, recompute: ModuleNotFoundError" in done.stdout
    written = record_file.with_suffix(".md").read_text(encoding="utf-8")
    assert written in done.stdout
    assert "| fused | packed-256 | one packed row | recompute |" in written
