"""Where an adapter's URI points, and which store is asked where nobody names one."""

import atexit
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from wikillama.config.paths import without_secrets
from wikillama.errors import InputError
from wikillama.tracking.run import open_client, store_uri

DEFAULT_STORE = "sqlite:///mlruns/mlflow.db"
_SQLITE = "sqlite:///"
_NAMED = 10  # of what there is instead
_WAYS = "by tracking.uri= or in Python tracking_uri=, or by the variable MLFLOW_TRACKING_URI"


def default_store() -> str:
    """The store that MLFLOW_TRACKING_URI or `mlflow.set_tracking_uri` names, else the one of train.py."""
    if not mlflow.is_tracking_uri_set():
        return DEFAULT_STORE
    uri = str(mlflow.get_tracking_uri())
    if uri.startswith(_SQLITE) and not uri.startswith(_SQLITE + "/"):  # for MLflow, relative to the working directory
        return _SQLITE + str(Path(uri.removeprefix(_SQLITE)).absolute())
    return uri


def adapter_folder(uri: str, tracking_uri: str) -> Path:
    """The local folder of an adapter: `models:/name@alias`, `models:/name/3`, `runs:/id/adapter`, or a path.

    What lies on a server is downloaded for the life of this process. Raises InputError where the store cannot be
    reached or the URI leads nowhere, and says what there is instead.
    """
    scheme, _, rest = uri.partition(":/")
    if scheme not in ("models", "runs"):
        folder = Path(uri).expanduser()
        if not folder.is_dir():
            raise InputError(f"{uri}: neither models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/adapter nor a folder")
        return folder
    store = store_uri(tracking_uri)
    shown = without_secrets(tracking_uri)
    if store.startswith(_SQLITE) and not Path(store.removeprefix(_SQLITE)).is_file():
        raise InputError(f"{uri}: not found, since there is no store {shown}; train first, or name another {_WAYS}")
    client = open_client(tracking_uri)
    try:
        source = (_of_version if scheme == "models" else _of_run)(client, uri, rest.strip("/"), shown)
        return _fetched(uri, source, store)
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: cannot be had from {shown} ({(str(error).splitlines() or [''])[0]})") from error


def _of_version(client: MlflowClient, uri: str, rest: str, store: str) -> str:
    """The place of a registered version's files."""
    name, at, alias = rest.partition("@")
    if not at:
        name, _, number = rest.rpartition("/")
    name = unquote(name)
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        there = [f"models:/{each.name}" for each in client.search_registered_models(max_results=_NAMED)]
        raise InputError(
            f"{uri}: not found in {store}, no model {name or rest} is registered; {_there(there)}"
        ) from error
    held = {str(key): str(value) for key, value in model.aliases.items()}
    wanted = held.get(alias) if at else number
    versions = sorted((int(each.version) for each in client.search_model_versions(f"name='{name}'")), reverse=True)
    if wanted is None or wanted not in map(str, versions):
        there = [f"{name}@{key} (version {value})" for key, value in held.items()]
        there += [f"{name}/{number}" for number in versions[:_NAMED]]
        raise InputError(f"{uri}: not found in {store}, no such version; {_there(there)}")
    return str(client.get_model_version_download_uri(name, wanted))


def _of_run(client: MlflowClient, uri: str, rest: str, store: str) -> str:
    """The place of a run's artifact."""
    run_id, _, path = rest.partition("/")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        experiments = [each.experiment_id for each in client.search_experiments()]
        runs = client.search_runs(experiments, max_results=_NAMED, order_by=["attributes.start_time DESC"])
        there = [f"{each.info.run_id} ({each.info.run_name})" for each in runs]
        raise InputError(f"{uri}: not found in {store}, no such run; {_there(there)}") from error
    if not path or not client.list_artifacts(run_id, path):
        there = [f"runs:/{run_id}/{each.path}" for each in client.list_artifacts(run_id) if each.is_dir]
        raise InputError(f"{uri}: not found in {store}, the run holds no such folder; {_there(there)}")
    return f"{run.info.artifact_uri}/{path}"


def _there(names: list[str]) -> str:
    return f"there are {', '.join(names)}" if names else "there is none"


def _fetched(uri: str, source: str, store: str) -> Path:
    """The folder with the files at `source`. Raises InputError where they are gone."""
    files = get_artifact_repository(source, tracking_uri=store, registry_uri=store)
    target = None
    if not isinstance(files, LocalArtifactRepository):
        target = tempfile.mkdtemp(prefix="wikillama-")
        atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        return Path(files.download_artifacts("", dst_path=target))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: its files are not in {without_secrets(source)} any more") from error
