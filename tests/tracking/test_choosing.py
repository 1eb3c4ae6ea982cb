"""Runs by id, by registered version, by how late they came, and by their sweep."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.errors import InputError
from wikillama.tracking.choosing import chosen_runs, runs_of_sweep
from wikillama.tracking.run import TrackedRun, open_client, tracked_run
from wikillama.tracking.sweeps import child_of, link_found, open_parent


@pytest.fixture
def cfg(job: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    return job(f"tracking.experiment={request.node.name}", "tracking.system_metrics=false")


@pytest.fixture
def run(cfg: Any, tmp_path: Path) -> Callable[..., TrackedRun]:
    def make(metric: str | None = "seen/f1") -> TrackedRun:
        with tracked_run(cfg.tracking, cfg, tmp_path) as opened:
            if metric:
                opened.metrics({metric: 0.5})
        return opened

    return make


def test_by_id_and_by_version(cfg: Any, run: Callable[..., TrackedRun], store: str) -> None:
    client = open_client(store)
    first, second = run(), run(None)
    client.create_registered_model("chosen")
    for made in (first, second):
        client.create_model_version("chosen", "somewhere", run_id=made.id)
    client.set_registered_model_alias("chosen", "champion", "2")

    def ids(*wanted: str) -> list[str]:
        return [found.id for found in chosen_runs(client, cfg.tracking, wanted)]

    assert ids(second.id, first.id) == [second.id, first.id]
    assert ids(f"runs:/{first.id}/adapter", "models:/chosen@champion") == [first.id, second.id]
    assert ids("models:/chosen/1", second.id) == [first.id, second.id]
    with pytest.raises(InputError, match=rf"run {first.id} \(.*\) is meant twice"):
        ids("models:/chosen/1", first.id)
    client.create_model_version("chosen", "elsewhere")
    with pytest.raises(InputError, match=r"^models:/chosen/3: the version was not made by a run"):
        ids("models:/chosen/3", first.id)
    for unknown in ("models:/chosen/9", "models:/chosen@nobody", "models:/nothing/1", "0" * 32):
        with pytest.raises(InputError) as caught:
            ids(unknown, first.id)
        assert "\n" not in str(caught.value)


def test_the_last_that_scored_something(cfg: Any, run: Callable[..., TrackedRun], store: str) -> None:
    client = open_client(store)
    with pytest.raises(InputError, match=r"^runs=last:2: experiment .* holds 0 finished runs with scores$"):
        chosen_runs(client, cfg.tracking, ["last:2"])
    run("wow/kf1/f1")
    made = [run("qa200/correct"), run("seen/base/f1"), run("val/loss"), run(None)]
    assert [found.id for found in chosen_runs(client, cfg.tracking, ["last:2"])] == [made[0].id, made[1].id]
    with pytest.raises(InputError, match=r"holds 3 finished runs"):
        chosen_runs(client, cfg.tracking, ["last:4"])


def test_all_of_a_sweep(cfg: Any, run: Callable[..., TrackedRun], store: str) -> None:
    client = open_client(store)
    earlier = run()
    experiment = client.get_run(earlier.id).info.experiment_id
    parent = open_parent(client, experiment, "sweep", {})
    with child_of(parent, 0, ["seed=0"]):
        child = run()
    with pytest.raises(InputError, match=r"runs beneath it: 1; give a sweep of two or more$"):
        runs_of_sweep(client, parent)
    link_found(client, parent, 1, ["seed=1"], earlier.id)
    assert [found.id for found in runs_of_sweep(client, parent)] == [child.id, earlier.id]
    foreign = run()
    for start in (2000, 1000):
        client.create_run(experiment, start_time=start, tags={"mlflow.parentRunId": foreign.id})
    assert [found.started for found in runs_of_sweep(client, foreign.id)] == [1, 2]
