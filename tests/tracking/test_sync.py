"""A sqlite store copied to MLflow's server over PostgreSQL: once, again, after changes, and after being cut off."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from servers import Relay, Server

from wikillama.errors import InputError
from wikillama.tracking.registry import adapter_folder, register
from wikillama.tracking.run import TrackedRun, experiment_id, open_client, tracked_run
from wikillama.tracking.sweeps import child_of, open_parent
from wikillama.tracking.sync import Synced, sync_store

NAMES = iter(f"tests-{number}" for number in range(100))  # the server is shared


class Local:
    """A sqlite store with a sweep of two runs, each of which registered its adapter."""

    def __init__(self, job: Callable[..., Any], store: str, folder: Path) -> None:
        self.uri, self.folder, self.name = store, folder, next(NAMES)
        self._job = job
        self.client = open_client(store)
        experiment = experiment_id(self.client, self.config().tracking)
        self.parent = open_parent(self.client, experiment, "sweep", {"about": "ranks"})
        self.children = [self.child(number) for number in range(2)]
        self.client.set_tag(self.parent, "mlflow.note.content", f"best: run {self.children[1].id}")
        self.client.log_text(self.parent, "<html>", "report.html")
        self.client.set_terminated(self.parent)

    def config(self, *overrides: str) -> Any:
        return self._job(
            f"tracking.uri={self.uri}", f"tracking.experiment={self.name}", "tracking.system_metrics=false", *overrides
        )

    def child(self, number: int) -> TrackedRun:
        cfg = self.config(f"peft.r={number + 4}", f"tracking.run_name=job {number}")
        exported = self.folder / f"exported-{number}"
        exported.mkdir()
        (exported / "adapter_model.safetensors").write_bytes(os.urandom(200_000))
        with (
            child_of(self.parent, number, [f"peft.r={number + 4}"]),
            tracked_run(cfg.tracking, cfg, self.folder) as run,
        ):
            values = [Metric("train/loss", 1 / (step + 1), 1_000_000 + step, step) for step in range(1500)]
            odd = [
                Metric("odd/nan", math.nan, 5, 0),
                Metric("odd/inf", math.inf, 5, 0),
                Metric("odd/inf", 1e-300, 6, 0),
            ]
            self.client.log_batch(run.id, metrics=values[:1000])
            self.client.log_batch(run.id, metrics=values[1000:] + odd)
            run.artifacts(exported, "adapter")
            run.text("an answer: \u00fc", "qa200/models wiki-llama candidate/answers.jsonl")
            version = register(run, self.name, "candidate", {"rank": str(number + 4), "run": run.id})
            said = f"# {self.name}, version {version.number}\n\nmodels:/{self.name}/{version.number} of {run.id}"
            self.client.update_model_version(self.name, version.number, said)
        return run

    def sync(self, to: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Synced:
        return sync_store(self.uri, self.name, to, progress)


@pytest.fixture
def local(job: Callable[..., Any], store: str, tmp_path: Path) -> Local:
    return Local(job, store, tmp_path)


def copies(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """By the run that they are copies of. There is one of each."""
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    by_source = {run.data.tags["wikillama.synced_from"]: run for run in found}
    assert len(by_source) == len(found)
    return by_source


def figures(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, int, str]]]:
    """All that was ever logged of each metric."""
    return {
        key: sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }


def files(client: MlflowClient, run_id: str, folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(client.download_artifacts(run_id, "", str(folder)))
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def check_copied(local: Local, target: MlflowClient, folder: Path) -> None:
    """Everything that the store holds of the sweep, the target holds as well."""
    theirs = copies(target, local.name)
    ids = {source: run.info.run_id for source, run in theirs.items()}
    assert theirs.keys() == {local.parent, *(child.id for child in local.children)}
    for source, copy in theirs.items():
        run = local.client.get_run(source)
        ours, there = run.info, copy.info
        assert (there.run_name, there.status) == (ours.run_name, ours.status)
        assert (there.start_time, there.end_time) == (ours.start_time, ours.end_time)
        assert copy.data.params == run.data.params
        assert figures(target, copy) == figures(local.client, run)
        kept = {key: value for key, value in run.data.tags.items() if source not in (value, local.parent)}
        for old, new in ids.items():
            kept = {key: value.replace(old, new) for key, value in kept.items()}
        assert kept.items() <= copy.data.tags.items()
        assert files(target, there.run_id, folder / source) == files(local.client, source, folder / f"{source}-ours")
    for child in local.children:
        assert theirs[child.id].data.tags["mlflow.parentRunId"] == ids[local.parent]
    assert theirs[local.parent].data.tags["mlflow.note.content"] == f"best: run {ids[local.children[1].id]}"
    assert "mlflow.parentRunId" not in theirs[local.parent].data.tags


def state(client: MlflowClient, experiment: str, folder: Path) -> str:
    """All that a store says of an experiment and the registered model of its name."""
    runs = sorted(copies(client, experiment).items())
    versions = sorted(client.search_model_versions(f"name='{experiment}'"), key=lambda v: int(v.version))
    artifacts = [sorted(files(client, run.info.run_id, folder / run.info.run_id)) for _, run in runs]
    said = [run.to_dictionary() for _, run in runs] + [dict(version) for version in versions]
    return f"{said} {artifacts} {client.get_registered_model(experiment).aliases}"


def test_all_of_it_is_copied_once(local: Local, server: Server, tmp_path: Path) -> None:
    target = open_client(server.uri)
    target.create_registered_model(local.name)  # the target is ahead by a version of somebody else's
    somebody = target.create_run(target.create_experiment(f"{local.name} of others"))
    target.create_model_version(local.name, f"{somebody.info.artifact_uri}/adapter", somebody.info.run_id)
    told: list[tuple[int, int]] = []
    assert local.sync(server.uri, lambda done, total: told.append((done, total))) == Synced(3, 0, 0, 2, 0, 0, 1, ())
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    check_copied(local, target, tmp_path / "first")

    ids = {source: run.info.run_id for source, run in copies(target, local.name).items()}
    for number, child in enumerate(local.children):
        version = target.get_model_version(local.name, str(number + 2))
        assert version.run_id == ids[child.id]
        assert version.tags == {
            "rank": str(number + 4), "run": ids[child.id], "wikillama.synced_version": str(number + 1)
        }  # fmt: skip
        heading = f"# {local.name}, version {number + 2}"
        assert version.description == f"{heading}\n\nmodels:/{local.name}/{number + 2} of {ids[child.id]}"
        folder = adapter_folder(f"models:/{local.name}/{number + 2}", server.uri)
        weights = (local.folder / f"exported-{number}" / "adapter_model.safetensors").read_bytes()
        assert (folder / "adapter_model.safetensors").read_bytes() == weights
    assert target.get_model_version_by_alias(local.name, "candidate").run_id == ids[local.children[1].id]

    before = state(target, local.name, tmp_path / "before")
    assert local.sync(server.uri) == Synced(0, 0, 3, 0, 0, 2, 0, ())
    assert state(target, local.name, tmp_path / "after") == before


def test_what_changed_is_brought_up_to_date(local: Local, server: Server, tmp_path: Path) -> None:
    target = open_client(server.uri)
    local.sync(server.uri)
    theirs = {source: run.info.run_id for source, run in copies(target, local.name).items()}
    target.set_tag(theirs[local.children[0].id], "reader", "was here")

    with tracked_run(local.config().tracking, local.config(), tmp_path, resume=local.children[0].id) as again:
        again.metrics({"val/loss": 0.5}, step=1500)
        adapter = tmp_path / "resumed"
        adapter.mkdir()
        (adapter / "adapter_model.safetensors").write_bytes(os.urandom(200_000))  # as many bytes as before
        again.artifacts(adapter, "adapter")
    local.client.set_tag(local.children[1].id, "chosen", "yes")
    local.client.set_model_version_tag(local.name, "2", "seen/f1", "0.4")
    local.client.update_model_version(local.name, "2", "better")
    local.client.set_registered_model_alias(local.name, "candidate", "1")
    local.client.set_registered_model_alias(local.name, "champion", "2")
    assert local.sync(server.uri) == Synced(0, 2, 1, 0, 1, 1, 2, ())

    check_copied(local, target, tmp_path)
    assert target.get_run(theirs[local.children[0].id]).data.tags["reader"] == "was here"
    assert target.get_model_version_by_alias(local.name, "candidate").tags["rank"] == "4"
    champion = target.get_model_version_by_alias(local.name, "champion")
    assert (champion.description, champion.tags["seen/f1"]) == ("better", "0.4")
    assert local.sync(server.uri) == Synced(0, 0, 3, 0, 0, 2, 0, ())


def test_what_is_not_ready_or_not_ours_is_left_and_said(local: Local, server: Server) -> None:
    target = open_client(server.uri)
    local.client.update_run(local.parent, status="RUNNING")
    target.create_registered_model(local.name)
    somebody = target.create_run(target.create_experiment(f"{local.name} of others"))
    target.create_model_version(local.name, f"{somebody.info.artifact_uri}/adapter", somebody.info.run_id)
    target.set_registered_model_alias(local.name, "candidate", "1")
    found = local.sync(server.uri)
    assert (found.copied, found.versions_copied) == (2, 2)
    running, alias = found.left
    assert running == f"run sweep ({local.parent}): it is still running; left for later"
    assert alias == f"{local.name}@candidate points to version 1 there, which is not from here: left so"
    assert target.get_model_version_by_alias(local.name, "candidate").run_id == somebody.info.run_id
    theirs = copies(target, local.name)
    assert all("mlflow.parentRunId" not in run.data.tags for run in theirs.values())

    target.delete_run(theirs[local.children[0].id].info.run_id)
    local.client.set_terminated(local.parent)
    found = local.sync(server.uri)
    assert (found.copied, found.updated, found.unchanged) == (1, 1, 0)  # the parent, and the child that now has it
    assert f"run job 0 ({local.children[0].id}): its copy was deleted there; not copied again" in found.left
    theirs = copies(target, local.name)
    assert theirs[local.children[1].id].data.tags["mlflow.parentRunId"] == theirs[local.parent].info.run_id


def test_a_sync_that_is_cut_off_goes_on(
    local: Local, server: Server, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after more and more of what it has to say, until it is through."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    target, told = open_client(server.uri), []
    open_client(relay.uri)
    for pieces in range(8, 1000, 9):
        relay.left = pieces
        try:
            found = local.sync(relay.uri)
            break
        except MlflowException as error:
            told.append(error.__notes__[0])
            relay.shut()
            relay.open()
    assert len(told) >= 4
    assert set(told) == {"What was copied stays. Call sync again, and it goes on from there."}
    assert found.copied + found.updated + found.unchanged == 3
    check_copied(local, target, tmp_path)
    versions = target.search_model_versions(f"name='{local.name}'")
    assert {version.version: version.tags["rank"] for version in versions} == {"1": "4", "2": "5"}
    assert local.sync(server.uri) == Synced(0, 0, 3, 0, 0, 2, 0, ())


def test_a_copy_that_the_server_made_twice_is_taken_once(local: Local, server: Server, tmp_path: Path) -> None:
    """The server fell over between making a run and saying so, and was asked again."""
    target = open_client(server.uri)
    experiment = target.create_experiment(local.name)
    for _ in range(2):
        started = local.client.get_run(local.parent).info.start_time
        target.create_run(experiment, started, tags={"wikillama.synced_from": local.parent})
    assert local.sync(server.uri) == Synced(2, 1, 0, 2, 0, 0, 1, ())
    check_copied(local, target, tmp_path)


def test_what_cannot_be_copied_is_refused(store: str, server: Server, tmp_path: Path) -> None:
    name = next(NAMES)
    open_client(store).create_experiment(name)
    with pytest.raises(InputError, match="no such experiment"):
        sync_store(store, "nope", server.uri)
    with pytest.raises(InputError, match="to=http"):
        sync_store(store, name, f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(InputError, match="from a sqlite store"):
        sync_store(server.uri, name, server.uri)
    lock = Path(store.removeprefix("sqlite:///")).with_suffix(".sync.lock")
    with FileLock(lock), pytest.raises(InputError, match="wait for its end"):
        sync_store(store, name, server.uri)
    assert sync_store(store, name, server.uri) == Synced(0, 0, 0, 0, 0, 0, 0, ())


@pytest.mark.parametrize("place", ["s3://bucket/artifacts", "file:///nowhere/artifacts"])
def test_artifacts_that_are_elsewhere_are_said(store: str, server: Server, place: str) -> None:
    client, name = open_client(store), next(NAMES)
    run = client.create_run(client.create_experiment(name, artifact_location=place), run_name="far")
    client.set_terminated(run.info.run_id)
    found = sync_store(store, name, server.uri)
    assert (found.copied, found.versions_copied) == (0, 0)
    said = f"run far ({run.info.run_id}): its artifacts are not on this machine, but in {run.info.artifact_uri}"
    assert found.left == (f"{said}; not copied",)
