"""Jobs of minutes: registering, going on after a kill, two processes, and the demonstration that users see first."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file

from wikillama.config.paths import ROOT
from wikillama.model.adapters import attach
from wikillama.model.base import load_base

TINY = [
    "model=tiny", "data=wow_mini", "data.max_length=128", "data.limit_train=64", "data.limit_valid=8",
    "data.limit_test=4", "trainer=cpu", "trainer.precision=32-true", "trainer.batch_size=4", "trainer.threads=1",
    "trainer.log_every_n_steps=1", "trainer.progress_bar=false", "evaluation.max_new_tokens=4",
    "evaluation.base=false", "tracking.register_as=null",
]  # fmt: skip


def command(script: str, folder: Path, *overrides: str) -> list[str]:
    places = [f"tracking.uri=sqlite:///{folder}/mlflow.db", f"hydra.run.dir={folder}/{time.time_ns()}"]
    cache = [] if any(o.startswith("cache_dir=") for o in overrides) else [f"cache_dir={folder}/cache"]
    return [sys.executable, str(ROOT / script), *overrides, *places, *cache]


def run(script: str, folder: Path, *overrides: str) -> str:
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"} if "experiment=demo" not in overrides else os.environ
    done = subprocess.run(
        command(script, folder, *overrides), cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def runs(folder: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def adapter(one: Run) -> dict[str, torch.Tensor]:
    return load_file(Path(one.info.artifact_uri.removeprefix("file://")) / "adapter" / "adapter_model.safetensors")


@pytest.mark.slow
def test_a_pretrained_base_is_registered_and_evaluated(compose: Callable[..., Any], tmp_path: Path) -> None:
    cfg = compose("model=tiny", "peft=none")
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    attach(base.model, cfg.peft, base.id).save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    local = ["model.source=hub", "model.weights=pretrained", f"model.path={tmp_path}/base"]
    shown = run("train.py", tmp_path, *TINY, *local, "tracking.register_as=wiki-llama")
    assert re.search(r"registered +wiki-llama version 1, alias candidate", shown)
    systems = "systems=[base,models:/wiki-llama@candidate]"
    kept = [o for o in TINY if o.startswith(("model", "data"))]
    shown = run("evaluate.py", tmp_path, *kept, *local, systems, "evaluation.max_new_tokens=4", "suite=wow_mini_seen")
    assert "models:/wiki-llama@candidate" in shown
    evaluated = next(one for one in runs(tmp_path) if "systems" in one.data.params)
    (found,) = (value for name, value in evaluated.data.metrics.items() if re.search("wiki-llama.*/ppl", name))
    trained = next(one for one in runs(tmp_path) if "peft.r" in one.data.params)
    assert found == pytest.approx(trained.data.metrics["wow_mini_seen/ppl"], rel=1e-6)


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_adapter(tmp_path: Path) -> None:
    job = [*TINY, "trainer.max_epochs=30", "trainer.patience=null"]
    run("train.py", tmp_path / "whole", *job)
    cut = tmp_path / "cut"
    cut.mkdir()
    process = subprocess.Popen(command("train.py", cut, *job), cwd=cut, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not list(cut.glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (killed,) = runs(cut)
    assert killed.info.status == "RUNNING"  # nobody was left to say otherwise
    run("train.py", cut, *job, "resume=last")
    (resumed,), (whole,) = runs(cut), runs(tmp_path / "whole")
    assert (resumed.info.run_id, resumed.info.status) == (killed.info.run_id, "FINISHED")
    ours, theirs = adapter(resumed), adapter(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed.data.metrics["wow_mini_seen/ppl"] == whole.data.metrics["wow_mini_seen/ppl"]


@pytest.mark.slow
def test_packed_rows_are_trained_on_and_resumed(tmp_path: Path) -> None:
    """An epoch learns the same tokens as one of padded batches does, and a finished run has nothing left to learn."""
    packed = [*TINY, "packing=bestfit", "packing.length=512", "trainer.batch_size=2"]
    run("train.py", tmp_path / "packed", *packed)
    run("train.py", tmp_path / "packed", *packed, "resume=last")
    run("train.py", tmp_path / "padded", *TINY)
    learnt = []
    for folder in (tmp_path / "packed", tmp_path / "padded"):
        (one,) = runs(folder)
        assert one.info.status == "FINISHED"
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        learnt.append(sum(m.value for m in client.get_metric_history(one.info.run_id, "train/target_tokens")))
    assert learnt[0] == learnt[1] > 0


@pytest.mark.slow
def test_two_processes_are_one_run_and_nearly_one_process(tmp_path: Path) -> None:
    """Two ranks with half the accumulation see the same windows, and so take the same steps but for rounding."""
    plain = [*TINY, "peft.dropout=0", "optim.eps=1.0e-3"]
    run("train.py", tmp_path / "one", *plain, "trainer.accumulate_grad_batches=2")
    run("train.py", tmp_path / "two", *plain, "trainer.accumulate_grad_batches=1",
        "trainer.strategy=ddp", "trainer.devices=2")  # fmt: skip
    (one,), (two,) = runs(tmp_path / "one"), runs(tmp_path / "two")
    assert two.info.status == "FINISHED"
    assert two.data.metrics["train/target_tokens"] == one.data.metrics["train/target_tokens"]
    for metric in ("train/loss", "val/loss", "wow_mini_seen/ppl"):
        assert two.data.metrics[metric] == pytest.approx(one.data.metrics[metric], rel=1e-3)


@pytest.mark.slow
def test_the_demo_learns_and_counts_versions(cache_dir: str, tmp_path: Path) -> None:
    for number in ("1", "2"):
        shown = run("train.py", tmp_path, "experiment=demo", "trainer.progress_bar=false", f"cache_dir={cache_dir}")
        assert re.search(rf"registered +wiki-llama version {number}, alias candidate", shown)
    for one in runs(tmp_path):
        found = one.data.metrics
        assert found["wow_mini_seen/ppl"] <= 0.85 * found["wow_mini_seen/base/ppl"]
        assert found["wow_mini_seen/f1"] >= found["wow_mini_seen/base/f1"] + 0.10
