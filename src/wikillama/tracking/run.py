"""One MLflow run: opened, filled, and closed with the status that it deserves."""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import MLFlowLogger
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from wikillama.config.paths import ROOT, public
from wikillama.config.schema import Section, TrackingConfig
from wikillama.errors import InputError
from wikillama.tracking.facts import code_tags, config_hash, environment_tags, flat, shown

_PARAMS_A_CALL = 100  # MLflow's limit
CHECKPOINTS_TAG = "wikillama.checkpoints"  # folder of a run's checkpoints, relative to the checkout where it is inside


def store_uri(uri: str) -> str:
    """The URI of the store: a relative sqlite path starts at the checkout, not at the working directory."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.startswith(prefix + "/"):
        return uri
    path = ROOT / uri.removeprefix(prefix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return prefix + str(path)


def open_client(uri: str) -> MlflowClient:
    """A client of the store. Raises InputError where there is none to reach."""
    _quiet()
    try:
        client = MlflowClient(tracking_uri=store_uri(uri), registry_uri=store_uri(uri))
        client.search_experiments(max_results=1)
    except Exception as error:  # the store's driver may raise anything: no server, no file rights, a broken database
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"tracking.uri={uri}: the MLflow store cannot be opened ({reason})") from error
    return client


def _quiet() -> None:
    """MLflow narrates the creation of its tables line by line; keep that out of the console."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class TrackedRun:
    """A run that is open in MLflow."""

    client: MlflowClient
    id: str
    experiment: str
    uri: str

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.id, metrics=[Metric(k, v, now, step) for k, v in values.items()])

    def tags(self, values: Mapping[str, str]) -> None:
        self.client.log_batch(self.id, tags=[RunTag(k, v) for k, v in values.items()])

    def artifacts(self, path: Path, folder: str | None = None) -> None:
        """Log a file into `folder`, or the contents of a folder as `folder`."""
        (self.client.log_artifacts if path.is_dir() else self.client.log_artifact)(self.id, str(path), folder)

    def text(self, text: str, name: str) -> None:
        self.client.log_text(self.id, text, name)

    def json_lines(self, rows: Iterable[Any], name: str) -> None:
        """Log dataclass instances, one a line."""
        self.text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows), name)

    def lightning_logger(self) -> MLFlowLogger:
        """Lightning's own logger, writing into this run."""
        return _FitLogger(self.experiment, tracking_uri=self.uri, run_id=self.id)


class _FitLogger(MLFlowLogger):
    """Lightning's logger, which would end the run with the fit; a run goes on to scores and registration."""

    def finalize(self, status: str = "success") -> None:
        pass


@contextmanager
def tracked_run(
    tracking: TrackingConfig, config: Section, checkpoints: Path, resume: str | None = None
) -> Iterator[TrackedRun]:
    """Open a run, or reopen the one to resume, with the configuration as params and as config.yaml.

    It ends FINISHED, FAILED where the body raised, KILLED where it was interrupted; the error's first line is a tag.
    """
    client = open_client(tracking.uri)
    experiment = experiment_id(client, tracking)
    if resume is None:
        run = client.create_run(experiment, run_name=tracking.run_name)
        params = [Param(key, value) for key, value in flat(config).items()]
        for start in range(0, len(params), _PARAMS_A_CALL):
            client.log_batch(run.info.run_id, params=params[start : start + _PARAMS_A_CALL])
        client.log_text(run.info.run_id, yaml.safe_dump(shown(config.model_dump()), sort_keys=False), "config.yaml")
    else:
        run = find_run(client, tracking, resume)
        client.update_run(run.info.run_id, status="RUNNING")
    tracked = TrackedRun(client, run.info.run_id, tracking.experiment, store_uri(tracking.uri))
    hashed = {"wikillama.config_hash": config_hash(config), CHECKPOINTS_TAG: public(str(checkpoints))}
    try:
        tracked.tags(code_tags() | environment_tags() | hashed)
        yield tracked
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt)
        first_line = (str(error).splitlines() or [""])[0]
        tracked.tags({"wikillama.error": public(f"{type(error).__name__}: {first_line}")[:500]})
        client.set_terminated(tracked.id, status="KILLED" if killed else "FAILED")
        raise
    client.set_terminated(tracked.id)


def experiment_id(client: MlflowClient, tracking: TrackingConfig) -> str:
    """The id of the experiment that a configuration names, which is made where there is none."""
    found = client.get_experiment_by_name(tracking.experiment)
    if found is not None:
        return str(found.experiment_id)
    uri = store_uri(tracking.uri)
    folder = None  # a server decides for itself where artifacts go
    if uri.startswith("sqlite:///"):
        folder = (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri()
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
            raise InputError(f"resume={wanted}: no such run in {tracking.uri}") from error
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
