"""Where an adapter's URI points: from any folder, in the store that is meant; and what there is instead."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from wikillama.errors import InputError
from wikillama.tracking import remote
from wikillama.tracking.locating import DEFAULT_STORE, adapter_folder, default_store
from wikillama.tracking.registry import register
from wikillama.tracking.run import TrackedRun, open_client, tracked_run


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store is named, neither in this process nor by the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)


@pytest.fixture(scope="module")
def registered(job: Callable[..., Any], store: str, tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    """`located` in two versions, the second under the alias champion."""
    folder = tmp_path_factory.mktemp("adapter")
    for number in ("1", "2"):
        (folder / "note").write_text(number)
        with tracked_run(job().tracking, job(), folder) as run:
            run.artifacts(folder, "adapter")
            run.text("", "config.txt")
        register(run, "located", "champion", {})
    return run


def held(uri: str, store: str) -> str:
    return (adapter_folder(uri, store) / "note").read_text()


def test_every_way_to_name_it(
    registered: TrackedRun, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note").write_text("mine")
    uris = ("models:/located@champion", "models:/located/1", f"runs:/{registered.id}/adapter", "folder")
    assert [held(uri, store) for uri in uris] == ["2", "1", "2", "mine"]
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]  # no store was made here
    assert (mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None) == told


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        ("models:/located@candidate", "located@champion (version 2), located/2, located/1"),
        ("models:/located/3", "located@champion (version 2), located/2, located/1"),
        ("models:/located/latest", "located@champion"),
        ("models:/locatde/1", "models:/located"),
        ("models:/located", "models:/located"),
        ("runs:/0123/adapter", "{run} ("),
        ("runs:/{run}/adaptor", "runs:/{run}/adapter"),
        ("runs:/{run}", "runs:/{run}/adapter"),
        ("runs:/{run}/config.txt", "runs:/{run}/adapter"),
    ],
)
def test_what_there_is_instead(registered: TrackedRun, store: str, uri: str, there: str) -> None:
    uri, there = uri.format(run=registered.id), there.format(run=registered.id)
    with pytest.raises(InputError) as caught:
        adapter_folder(uri, store)
    said = str(caught.value)
    assert said.startswith(f"{uri}: not found in {store}, ")
    assert there in said.partition("there are ")[2]
    assert "\n" not in said


def test_files_that_are_gone(job: Callable[..., Any], logged: Callable[..., Any], store: str, tmp_path: Path) -> None:
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "note").write_text("here")
    run = logged(job(), tmp_path / "exported")
    register(run, "gone", "champion", {})
    folder = adapter_folder("models:/gone@champion", store)
    (folder / "note").unlink()
    folder.rmdir()
    with pytest.raises(InputError, match=r"models:/gone@champion: its files are not in .*/artifacts/adapter any more"):
        adapter_folder("models:/gone@champion", store)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no store sqlite:.*MLFLOW_TRACKING_URI"):
        adapter_folder("models:/located@champion", f"sqlite:///{tmp_path}/nowhere/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    with pytest.raises(InputError, match="the MLflow store cannot be opened"):
        adapter_folder("models:/located@champion", f"sqlite:///{tmp_path}/mlflow.db")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remote._HURRIED, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # nobody waits for it to come
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9: the MLflow store cannot be opened"):
        adapter_folder("models:/located@champion", "http://127.0.0.1:9")


def test_the_store_of_train_unless_mlflow_is_told_another(
    unset: None, compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_store() == DEFAULT_STORE == compose("model=tiny").tracking.uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_store() == "http://127.0.0.1:5000"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # which MLflow looks for where one stands
    assert default_store() == f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri("sqlite:////told/mlflow.db")
    assert default_store() == "sqlite:////told/mlflow.db"


def test_a_server_sends_what_it_keeps(server: Any, compose: Callable[..., Any], tmp_path: Path) -> None:
    """Artifacts that are not on this machine are fetched into a folder of this process."""
    cfg = compose("model=tiny", "data=wow_mini", "tracking=server", f"tracking.uri={server.uri}")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "note").write_text("far away")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        run.artifacts(tmp_path / "adapter", "adapter")
    register(run, "located", "champion", {})
    for uri in ("models:/located@champion", "models:/located/1", f"runs:/{run.id}/adapter"):
        assert held(uri, server.uri) == "far away"
    with pytest.raises(InputError, match=r"there are located@champion"):
        adapter_folder("models:/located/7", server.uri)
    assert open_client(server.uri).get_run(run.id).info.artifact_uri.startswith("mlflow-artifacts:")
