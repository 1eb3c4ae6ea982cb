"""Sweeps of jobs that take seconds: within this process, which has loaded torch already, or as a user starts them."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from this_process import run_here

from wikillama.config.paths import ROOT
from wikillama.tracking.reading import RunFacts, children, read_run
from wikillama.tracking.run import open_client

TINY = (
    "model=tiny data=wow_mini trainer=cpu data.max_length=256 data.limit_train=8 data.limit_valid=4 data.limit_test=4 "
    "trainer.precision=32-true trainer.batch_size=4 trainer.accumulate_grad_batches=1 trainer.threads=1 "
    "trainer.log_every_n_steps=1 trainer.validations_per_epoch=1 trainer.progress_bar=false evaluation.base=false "
    "evaluation.max_new_tokens=4 evaluation.resamples=50 evaluation.samples=0 tracking.system_metrics=false "
    "tracking.register_as=null"
)


def arguments(overrides: str, folder: Path) -> list[str]:
    """What train.py is given for a sweep that leaves everything in `folder`."""
    places = [
        f"tracking.uri=sqlite:///{folder}/mlflow.db",
        f"hydra.sweep.dir={folder}/sweep",
        f"cache_dir={folder}/cache",
    ]
    return ["-m", *overrides.split(), *TINY.split(), *places]


def sweep_here(overrides: str, folder: Path) -> int:
    """Run a sweep within this process; its exit code."""
    return run_here("train.py", arguments(overrides, folder))


class Started:
    """A sweep in a process of its own, whose output grows in a file."""

    def __init__(self, overrides: str, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), *arguments(overrides, folder)],
                cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                env=os.environ | {"HF_HUB_OFFLINE": "1", "HYDRA_FULL_ERROR": "0"},
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def parent(self) -> str:
        """The parent run; waits until it is there, and with it the store."""
        while (found := re.search(r"parent run (\w+)", self.said)) is None:
            assert self.process.poll() is None, self.said
            time.sleep(0.2)
        return found[1]

    def child(self, number: int, status: str) -> RunFacts:
        """The child of a job, once it has a status."""
        client = client_of(self.folder)
        while True:
            ended = self.process.poll() is not None
            for run in children(client, self.parent):
                if run.tags["wikillama.sweep.job"] == str(number) and run.status == status:
                    return run
            assert not ended, self.said
            time.sleep(0.2)


def client_of(folder: Path) -> MlflowClient:
    return open_client(f"sqlite:///{folder}/mlflow.db")


def parents(client: MlflowClient) -> list[RunFacts]:
    """The parent runs of a store, oldest first."""
    experiment = client.get_experiment_by_name("wiki-llama")
    if experiment is None:
        return []
    found = client.search_runs(
        [experiment.experiment_id], "tags.`wikillama.kind` = 'sweep'", order_by=["attributes.start_time ASC"]
    )
    return [read_run(client, run.info.run_id) for run in found]
