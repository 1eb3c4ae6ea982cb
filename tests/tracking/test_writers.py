"""Several processes on one sqlite store, as the jobs of a parallel sweep are.

MLflow lets a connection wait 20 s for the file (PRAGMA busy_timeout), and its transactions are short and begin with a
write, so that writers take turns; the journal is SQLite's default. It makes a new store without a lock, though.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

# processes that open a new store at once, and then write for some seconds whatever jobs write
WRITERS = """
import os, sys, time
from mlflow.entities import Param, RunTag
from wikillama.config.schema import TrackingConfig
from wikillama.tracking.registry import register
from wikillama.tracking.run import TrackedRun, experiment_id, open_client
from wikillama.tracking.sending import Sender

uri, writers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

def write():
    client = open_client(uri)
    experiment = experiment_id(client, TrackingConfig(uri=uri, experiment="swept"))
    run = client.create_run(experiment).info.run_id
    tracked = TrackedRun(client, run, "swept", uri, Sender(client, run))
    end, step = time.monotonic() + seconds, 0
    while step == 0 or time.monotonic() < end:
        tracked.metrics({"train/loss": 1.0 / (step + 1), "val/loss": 2.0}, step)
        client.log_batch(run, params=[Param(f"p{step}", "x")], tags=[RunTag("step", str(step))])
        client.search_runs([experiment], max_results=20)
        if step % 10 == 0:
            register(tracked, "shared", "candidate", {"step": str(step)})
        step += 1
    client.set_terminated(run)
    print(step, flush=True)

children = []
for _ in range(writers):  # all is imported once
    child = os.fork()
    if child == 0:
        write()
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def check_written(folder: Path, writers: int, seconds: float) -> None:
    """What several processes have written, the store then holds, and nobody was turned away."""
    uri = f"sqlite:///{folder}/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, uri, str(writers), str(seconds)], cwd=folder, capture_output=True, text=True,
        check=False, env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "locked" not in done.stderr
    steps = sorted(map(int, done.stdout.split()))
    assert len(steps) == writers
    client = MlflowClient(uri, registry_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("swept").experiment_id])
    held = [len(client.get_metric_history(run.info.run_id, "train/loss")) for run in runs]
    assert sorted(held) == steps
    assert sorted(sum(key.startswith("p") for key in run.data.params) for run in runs) == steps
    versions = client.search_model_versions("name='shared'", max_results=10_000)
    assert sorted(int(version.version) for version in versions) == list(range(1, len(versions) + 1))
    assert len(versions) == sum(-(-step // 10) for step in steps)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_processes_write_at_once(tmp_path: Path) -> None:
    check_written(tmp_path, 3, 1.0)


@pytest.mark.slow
def test_processes_write_for_a_while(tmp_path: Path) -> None:
    check_written(tmp_path, 4, 60.0)
