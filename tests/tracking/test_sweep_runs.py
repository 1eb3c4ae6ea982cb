"""Parents, children, and runs that stand for jobs which need not be run again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from wikillama.tracking.facts import config_hash
from wikillama.tracking.process import PROCESS
from wikillama.tracking.reading import read_run
from wikillama.tracking.run import experiment_id, open_client, tracked_run
from wikillama.tracking.sweeps import (
    child_of,
    close_abandoned,
    close_children,
    failed_child,
    finished_run,
    link_found,
    open_parent,
    swept_jobs,
)

DEAD = "1 1"  # no process of that number was born then


@pytest.fixture
def client(store: str) -> MlflowClient:
    return open_client(store)


@pytest.fixture
def cfg(job: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    """A job in an experiment of its own."""
    return job("tracking.system_metrics=false", f"tracking.experiment={request.node.name}")


@pytest.fixture
def experiment(client: MlflowClient, cfg: Any) -> str:
    return experiment_id(client, cfg.tracking)


def test_a_run_within_is_a_child(client: MlflowClient, experiment: str, cfg: Any, tmp_path: Path) -> None:
    parent = open_parent(client, experiment, "ranks", {"wikillama.sweep.over": "peft.r=2,4"})
    overrides = ["peft.r=4", f"data.path={Path.home()}/corpus", "tracking.uri=postgresql://bob:s3cret@host/db"]
    with child_of(parent, 1, overrides), tracked_run(cfg.tracking, cfg, tmp_path) as run:
        pass
    with tracked_run(cfg.tracking, cfg, tmp_path) as other:
        pass
    failed_child(client, parent, 0, ["peft.r=0"], "peft.r=0", f"InputError: no such file {Path.home()}/x")
    none, done = swept_jobs(client, parent)
    assert (none.number, none.run.status, none.run.name) == (0, "FAILED", "peft.r=0")
    assert none.run.tags["wikillama.error"] == "InputError: no such file ~/x"
    assert (done.number, done.run.id, done.run.status, done.found) == (1, run.id, "FINISHED", False)
    assert done.overrides == ("peft.r=4", "data.path=~/corpus", "tracking.uri=postgresql://host/db")
    assert "mlflow.parentRunId" not in read_run(client, other.id).tags
    assert read_run(client, parent).tags["wikillama.kind"] == "sweep"
    assert read_run(client, parent).status == "RUNNING"


def test_the_newest_finished_run_of_a_configuration_is_found(
    client: MlflowClient, experiment: str, cfg: Any, tmp_path: Path
) -> None:
    assert finished_run(client, experiment, config_hash(cfg)) is None
    with pytest.raises(OSError, match="power"), tracked_run(cfg.tracking, cfg, tmp_path):
        raise OSError("power")
    assert finished_run(client, experiment, config_hash(cfg)) is None
    for _ in range(2):
        with tracked_run(cfg.tracking, cfg, tmp_path) as run:
            pass
    found = finished_run(client, experiment, config_hash(cfg))
    assert found is not None
    assert found.id == run.id
    assert finished_run(client, experiment, config_hash(cfg.model_copy(update={"seed": 1}))) is None
    client.delete_run(run.id)
    older = finished_run(client, experiment, config_hash(cfg))
    assert older is not None
    assert older.id != run.id


def test_how_a_sweep_looks_at_its_runs_is_no_part_of_what_they_compute(job: Callable[..., Any]) -> None:
    assert config_hash(job("sweep.rerun=true", "sweep.objective=kf1")) == config_hash(job())


def test_a_found_run_stands_for_a_job_of_a_later_sweep(
    client: MlflowClient, experiment: str, cfg: Any, tmp_path: Path
) -> None:
    first, second = (open_parent(client, experiment, name, {}) for name in ("first", "second"))
    with child_of(first, 0, ["seed=0"]), tracked_run(cfg.tracking, cfg, tmp_path) as run:
        pass
    link_found(client, second, 3, ["seed=0", "peft.r=2"], run.id)
    (found,) = swept_jobs(client, second)
    assert (found.number, found.overrides, found.run.id, found.found) == (3, ("seed=0", "peft.r=2"), run.id, True)
    assert [job.number for job in swept_jobs(client, first)] == [0]
    assert json.loads(read_run(client, second).tags["wikillama.sweep.found.3"])["run"] == run.id


def test_only_open_children_are_closed_with_their_sweep(
    client: MlflowClient, experiment: str, cfg: Any, tmp_path: Path
) -> None:
    parent = open_parent(client, experiment, "broken off", {})
    with child_of(parent, 0, []), tracked_run(cfg.tracking, cfg, tmp_path):
        pass
    left = client.create_run(experiment, tags={"mlflow.parentRunId": parent, "wikillama.sweep.job": "1",
                                               "wikillama.sweep.overrides": "[]"}).info.run_id  # fmt: skip
    close_children(client, parent, "interrupted")
    assert [job.run.status for job in swept_jobs(client, parent)] == ["FINISHED", "KILLED"]
    assert read_run(client, left).tags["wikillama.error"] == "interrupted"


def test_runs_that_a_dead_process_left_open_are_closed(
    client: MlflowClient, experiment: str, cfg: Any, tmp_path: Path
) -> None:
    with tracked_run(cfg.tracking, cfg, tmp_path) as mine:
        host = read_run(client, mine.id).tags[PROCESS].split()[0]
        dead, elsewhere = (
            client.create_run(experiment, tags={PROCESS: f"{name} {DEAD}"}).info.run_id for name in (host, "elsewhere")
        )
        assert close_abandoned(client, experiment) == 1
        assert [read_run(client, run).status for run in (dead, elsewhere, mine.id)] == ["KILLED", "RUNNING", "RUNNING"]
        assert close_abandoned(client, experiment) == 0
    assert read_run(client, mine.id).status == "FINISHED"
    assert read_run(client, dead).tags["wikillama.error"]
