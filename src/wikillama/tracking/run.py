"""One MLflow run: opened, filled, and closed with the status that it deserves."""

import gzip
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Param, RunTag, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from wikillama.config.paths import ROOT, public, without_secrets
from wikillama.config.schema import Section, TrackingConfig
from wikillama.errors import InputError
from wikillama.tracking.description import KIND, NOTE, about, kind_of, name_of
from wikillama.tracking.experiment_page import furnish
from wikillama.tracking.facts import code_tags, config_hash, environment_tags, flat, shown
from wikillama.tracking.process import PROCESS, this_process
from wikillama.tracking.remote import hurried, is_server, patient, reason_of, without_credentials
from wikillama.tracking.sending import Sender
from wikillama.tracking.sqlite import be_patient, opened_alone
from wikillama.tracking.system_metrics import system_metrics

if TYPE_CHECKING:
    from wikillama.tracking.fit_logger import FitLogger

_PARAMS_A_CALL = 100  # MLflow's limit
_PLAIN = 2_000_000  # characters of JSON lines that are kept as they are; a full test split has 5 million and more
_SOON = 20.0  # seconds
CHECKPOINTS_TAG = "wikillama.checkpoints"  # folder of a run's checkpoints, relative to the checkout where it is inside

# tags of the runs that are opened here: what a sweep says of its jobs
given_tags: ContextVar[Mapping[str, str]] = ContextVar("given_tags", default=MappingProxyType({}))

_reached: set[str] = set()  # stores that have answered this process


def store_uri(uri: str) -> str:
    """The URI of the store: a relative sqlite path starts at the checkout, and a server's address names no user."""
    if is_server(uri):
        return without_credentials(uri)
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.startswith(prefix + "/"):
        return uri
    path = ROOT / uri.removeprefix(prefix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return prefix + str(path)


def open_client(uri: str, key: str = "tracking.uri") -> MlflowClient:
    """A client of the store that `key` gives. Raises InputError where there is none to reach, a server soon."""
    _quiet()
    be_patient()
    store = store_uri(uri)
    try:
        if store in _reached:  # one that has answered before is only away for a while
            return MlflowClient(tracking_uri=store, registry_uri=store)
        with hurried(), opened_alone(store):
            client = MlflowClient(tracking_uri=store, registry_uri=store)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)  # the registry is a store of its own, opened when it is used
    except Exception as error:  # the store's driver may raise anything: no server, no file rights, a broken database
        raise InputError(
            f"{key}={without_secrets(uri)}: the MLflow store cannot be opened ({reason_of(error, uri)})"
        ) from error
    _reached.add(store)
    return client


def _quiet() -> None:
    """MLflow narrates the creation of its tables line by line, and downloads in bars; keep that out of the console."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class TrackedRun:
    """A run that is open in MLflow."""

    client: MlflowClient
    id: str
    experiment: str
    uri: str
    sender: Sender

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self.sender.metrics(values, step)
        self.sender.flush()

    def tags(self, values: Mapping[str, str]) -> None:
        self.client.log_batch(self.id, tags=[RunTag(k, v) for k, v in values.items()])

    def artifacts(self, path: Path, folder: str | None = None) -> None:
        """Log a file into `folder`, or the contents of a folder as `folder`."""
        (self.client.log_artifacts if path.is_dir() else self.client.log_artifact)(self.id, str(path), folder)

    def table(self, rows: Mapping[str, Sequence[Any]], name: str) -> None:
        """Append rows, given by column, to an artifact that MLflow shows as a table."""
        self.sender.later(lambda: self.client.log_table(self.id, dict(rows), name))

    def describe(self, markdown: str) -> None:
        """Say on the run's page what it is and what came of it, in place of what is said there."""
        self.client.set_tag(self.id, NOTE, markdown)

    def text(self, text: str, name: str) -> None:
        self.client.log_text(self.id, text, name)

    def json_lines(self, rows: Iterable[Any], name: str) -> None:
        """Log dataclass instances, one a line; large files compressed, as `<name>.gz`."""
        text = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
        if len(text) <= _PLAIN:
            self.text(text, name)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name.rpartition('/')[2]}.gz"
            path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
            self.artifacts(path, name.rpartition("/")[0] or None)

    def lightning_logger(self) -> "FitLogger":
        """A logger for Lightning that writes into this run."""
        from wikillama.tracking.fit_logger import FitLogger  # here, for jobs that fit nothing

        return FitLogger(self.sender, self.id)


@contextmanager
def tracked_run(
    tracking: TrackingConfig, config: Section, checkpoints: Path, resume: str | None = None
) -> Iterator[TrackedRun]:
    """Open a run, or reopen the one to resume, with the configuration as params and as config.yaml.

    It ends FINISHED, FAILED where the body raised, KILLED where it was interrupted; the error's first line is a tag.
    """
    client = open_client(tracking.uri)
    with patient():
        run_id = _open_run(client, tracking, config, resume)
        tracked = TrackedRun(client, run_id, tracking.experiment, store_uri(tracking.uri), Sender(client, run_id))
        place = {CHECKPOINTS_TAG: public(str(checkpoints)), PROCESS: this_process()}
        try:
            tracked.tags(code_tags() | environment_tags() | {"wikillama.config_hash": config_hash(config)} | place)
            watched = system_metrics(tracked.id, tracked.uri, resume is not None) if tracking.system_metrics else None
            with watched or nullcontext():
                yield tracked
            tracked.sender.flush()
        except BaseException as error:
            _close_failed(tracked, error)
            raise
        client.set_terminated(tracked.id)


def _open_run(client: MlflowClient, tracking: TrackingConfig, config: Section, resume: str | None) -> str:
    experiment = experiment_id(client, tracking)
    furnish(client, experiment)
    if resume is not None:
        run = find_run(client, tracking, resume)
        client.update_run(run.info.run_id, status="RUNNING")
        return str(run.info.run_id)
    kind = kind_of(config)
    said = {KIND: kind, NOTE: about(config), MLFLOW_SOURCE_NAME: f"{kind}.py", MLFLOW_SOURCE_TYPE: "LOCAL"}
    name = tracking.run_name or name_of(config)
    run = client.create_run(experiment, run_name=name, tags=said | dict(given_tags.get()))
    params = [Param(key, value) for key, value in flat(config).items()]
    for start in range(0, len(params), _PARAMS_A_CALL):
        client.log_batch(run.info.run_id, params=params[start : start + _PARAMS_A_CALL])
    client.log_text(run.info.run_id, yaml.safe_dump(shown(config.model_dump()), sort_keys=False), "config.yaml")
    return str(run.info.run_id)


def _close_failed(run: TrackedRun, error: BaseException) -> None:
    """Tell the store how a run ended. One that was lost is not waited for again, nor any after an interrupt."""
    killed = isinstance(error, KeyboardInterrupt)
    soon = killed or isinstance(error, MlflowException)
    first_line = (str(error).splitlines() or [""])[0]
    with hurried() if soon else nullcontext():
        try:
            with suppress(MlflowException):  # the end matters more than the last figures
                run.sender.flush(_SOON if soon else None)
            run.tags({"wikillama.error": shown(f"{type(error).__name__}: {first_line}")[:500]})
            run.client.set_terminated(run.id, status="KILLED" if killed else "FAILED")
        except MlflowException as lost:
            error.add_note(f"Run {run.id} could not be closed: {reason_of(lost, run.uri)}")


def experiment_id(client: MlflowClient, tracking: TrackingConfig) -> str:
    """The id of the experiment that a configuration names, which is made where there is none.

    Raises InputError for one that was deleted.
    """
    found = client.get_experiment_by_name(tracking.experiment)
    if found is not None and found.lifecycle_stage != "active":
        restore = f"mlflow experiments restore -x {found.experiment_id}"
        raise InputError(f"tracking.experiment={tracking.experiment} was deleted: choose another, or `{restore}`")
    if found is not None:
        return str(found.experiment_id)
    uri = store_uri(tracking.uri)
    folder = None  # a server decides for itself where artifacts go
    if uri.startswith("sqlite:///"):
        folder = (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri()
    elif not is_server(uri):  # a database without a server in front: MLflow would take the working directory
        folder = (ROOT / "mlruns" / "artifacts").as_uri()
    try:
        return str(client.create_experiment(tracking.experiment, artifact_location=folder))
    except MlflowException:  # another process was faster
        found = client.get_experiment_by_name(tracking.experiment)
        if found is None:
            raise
        return str(found.experiment_id)


def find_run(client: MlflowClient, tracking: TrackingConfig, wanted: str) -> MlflowRun:
    """The run with an id, or the `last` one that has checkpoints. Raises InputError where there is none."""
    if wanted != "last":
        try:
            return client.get_run(wanted)
        except MlflowException as error:
            raise InputError(f"resume={wanted}: no such run in {without_secrets(tracking.uri)}") from error
    runs = client.search_runs(
        [experiment_id(client, tracking)],
        filter_string=f"tags.`{CHECKPOINTS_TAG}` != ''",
        run_view_type=ViewType.ACTIVE_ONLY,
        order_by=["attributes.start_time DESC"],
    )
    for run in runs:  # evaluations, and runs that failed early, have a folder but no checkpoint in it
        if (_checkpoint_folder(run) / "last.ckpt").is_file():
            return run
    raise InputError(f"resume=last: experiment {tracking.experiment} has left no checkpoint of any run")


def _checkpoint_folder(run: MlflowRun) -> Path:
    folder = Path(run.data.tags.get(CHECKPOINTS_TAG, "")).expanduser()
    return folder if folder.is_absolute() else ROOT / folder


def checkpoints_of(tracking: TrackingConfig, wanted: str) -> Path:
    """The checkpoint folder of a run to resume. Raises InputError where the run has left no checkpoint."""
    client = open_client(tracking.uri)
    run = find_run(client, tracking, wanted)
    folder = _checkpoint_folder(run)
    if not (folder / "last.ckpt").is_file():
        raise InputError(f"resume={wanted}: run {run.info.run_id} has left no checkpoint in {folder}")
    return folder
