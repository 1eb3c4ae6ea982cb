"""Sweeps whose jobs run side by side, one of which loses its process; and sweeps that are interrupted."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tiny_sweeps import Started, client_of, parents, sweep_here

from wikillama.tracking.process import PROCESS
from wikillama.tracking.reading import children

PARALLEL = "hydra/launcher=joblib hydra.launcher.n_jobs=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel")


def test_a_killed_process_takes_only_its_own_job(folder: Path) -> None:
    """Four jobs, two at once: the second loses its process while the first is at work, and the others go on."""
    sweep = Started(f"{PARALLEL} peft.r=2,3,0,4", folder)
    running = sweep.child(1, "RUNNING")
    pid = int(running.tags[PROCESS].split()[1])
    assert pid != sweep.process.pid
    os.kill(pid, signal.SIGKILL)
    assert sweep.process.wait() == 1, sweep.said
    found = {run.tags["wikillama.sweep.job"]: run for run in children(client_of(folder), sweep.parent)}
    assert {number: run.status for number, run in found.items()} == {
        "0": "FINISHED", "1": "FAILED", "2": "FAILED", "3": "FINISHED"
    }  # fmt: skip
    assert found["1"].id == running.id
    assert found["1"].tags["wikillama.error"] == "its process was killed: SIGKILL(-9)"
    assert found["2"].tags["wikillama.error"].startswith("config: peft.r=0")
    (parent,) = parents(client_of(folder))
    assert parent.status == "FAILED"
    said = sweep.said
    assert "job 2 of 4: peft.r=3: FAILED: its process was killed: SIGKILL(-9)" in said
    assert "failed, 2 of the sweep's jobs:" in said
    assert "\n  peft.r=3: its process was killed" in said
    assert "database is locked" not in said
    assert "data: wow_mini" not in said  # what jobs say stands in their folders
    assert "data: wow_mini" in (folder / "sweep" / "0" / "console.txt").read_text()


def test_the_same_command_trains_only_the_killed_job(folder: Path) -> None:
    before = {run.id for run in children(client_of(folder), parents(client_of(folder))[0].id)}
    assert sweep_here("peft.r=2,3,4", folder) == 0
    parent = parents(client_of(folder))[-1]
    (child,) = children(client_of(folder), parent.id)
    assert (child.name, child.status) == ("peft.r=3", "FINISHED")
    assert child.id not in before
    assert len([tag for tag in parent.tags if ".found." in tag]) == 2


LONG = "peft.r=2,3,4 trainer.max_epochs=1,500"


def interrupt_in_training(folder: Path) -> None:
    """Press Ctrl-C once the second job has logged a training loss."""
    while True:
        time.sleep(0.2)
        sweeps = parents(client_of(folder))
        jobs = children(client_of(folder), sweeps[0].id) if sweeps else []
        if any(run.tags["wikillama.sweep.job"] == "1" and "train/loss" in run.metrics for run in jobs):
            os.kill(os.getpid(), signal.SIGINT)
            return


def assert_interrupted(folder: Path, said: str) -> None:
    (parent,) = parents(client_of(folder))
    assert parent.status == "KILLED"
    ends = {run.tags["wikillama.sweep.job"]: run for run in children(client_of(folder), parent.id)}
    assert (ends["0"].status, ends["1"].status) == ("FINISHED", "KILLED")
    assert {run.status for run in ends.values()} == {"FINISHED", "KILLED"}
    assert "train/loss" in ends["1"].metrics
    assert "interrupted\n" in said
    assert "Traceback" not in said
    assert "not started" in said


def test_an_interruption_closes_what_is_open(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client_of(tmp_path)  # makes the store, which two must not do at once
    before = signal.getsignal(signal.SIGINT)
    watch = threading.Thread(target=interrupt_in_training, args=[tmp_path])
    try:
        watch.start()
        assert sweep_here(LONG, tmp_path) == 130
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores further ones
        watch.join()
    assert_interrupted(tmp_path, "".join(capfd.readouterr()))


@pytest.mark.slow
def test_an_interruption_of_jobs_side_by_side(tmp_path: Path) -> None:
    """Ctrl-C reaches all processes of the terminal: those of the jobs leave the answer to the sweep's own."""
    sweep = Started(f"{PARALLEL} {LONG}", tmp_path)
    sweep.child(0, "FINISHED")
    while "train/loss" not in sweep.child(1, "RUNNING").metrics:
        time.sleep(0.2)
    os.killpg(sweep.process.pid, signal.SIGINT)
    assert sweep.process.wait() == 130, sweep.said
    assert_interrupted(tmp_path, sweep.said)


@pytest.mark.slow
def test_what_a_dead_sweep_left_open_is_closed_by_the_next(tmp_path: Path) -> None:
    sweep = Started("peft.r=2,3 trainer.max_epochs=500", tmp_path)
    running = sweep.child(0, "RUNNING")
    sweep.process.kill()
    sweep.process.wait()
    assert sweep_here("peft.r=0,0", tmp_path) == 2
    (child,) = children(client_of(tmp_path), sweep.parent)
    assert (child.id, child.status) == (running.id, "KILLED")
    assert [parent.status for parent in parents(client_of(tmp_path))] == ["KILLED", "FAILED"]
