"""Registered versions of adapters, and where an adapter's URI points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from wikillama.errors import InputError
from wikillama.tracking.run import TrackedRun, open_client, store_uri

ADAPTER = "adapter"  # a run's artifact folder that holds its adapter


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    number: str
    alias: str | None


def register(run: TrackedRun, name: str, alias: str | None, tags: Mapping[str, str]) -> Version:
    """Register the adapter of `run` as the next version of `name`, and let `alias` point to it."""
    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{run.client.get_run(run.id).info.artifact_uri}/{ADAPTER}"
    version = run.client.create_model_version(name, source, run_id=run.id, tags=dict(tags))
    if alias is not None:
        run.client.set_registered_model_alias(name, alias, version.version)
    return Version(name, str(version.version), alias)


def adapter_folder(uri: str, tracking_uri: str) -> Path:
    """The local folder of an adapter: `models:/name@alias`, `models:/name/3`, `runs:/id/adapter`, or a path.

    Raises InputError where the URI leads nowhere.
    """
    if not uri.startswith(("models:/", "runs:/")):
        folder = Path(uri).expanduser()
        if not folder.is_dir():
            raise InputError(f"{uri}: neither models:/, runs:/ nor a folder")
        return folder
    open_client(tracking_uri)
    store = store_uri(tracking_uri)
    mlflow.set_tracking_uri(store)  # or MLflow makes a store in the working directory
    mlflow.set_registry_uri(store)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=store))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: not found in {tracking_uri} ({str(error).splitlines()[0]})") from error
