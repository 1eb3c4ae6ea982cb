"""What finished runs hold, read back from any store: facts, and what their systems answered.

Sweeps choose by it and comparisons test by it. Nothing here writes.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import orjson
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from wikillama.errors import InputError
from wikillama.evaluation.results import Answer, Prediction
from wikillama.tracking.facts import INCIDENTAL

Row = TypeVar("Row", Answer, Prediction)

_COMPRESSED = ".gz"
_PAGE = 200  # runs a request
ANSWERS, PREDICTIONS, RESULTS = "answers.jsonl", "predictions.jsonl", "results.json"
ABSENT = ""  # stands for a param that a run does not have
# folders of a run that hold no scores, and many files: not worth a request each
_ELSEWHERE = {"adapter", "data", "checkpoints", "code", "model"}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as the store knows it. Times in seconds, `started` since 1970; None while it has not begun or ended."""

    id: str
    name: str
    status: str  # RUNNING | SCHEDULED | FINISHED | FAILED | KILLED
    started: float | None
    seconds: float | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]  # the last value of each
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scored:
    """A file of judged answers or of scored replies. `system` is empty for the one that a training run made."""

    suite: str
    system: str
    path: str  # in the run's artifacts

    @property
    def holds_answers(self) -> bool:
        """To questions; else it holds replies to turns."""
        return self.path.removesuffix(_COMPRESSED).endswith(ANSWERS)


def read_run(client: MlflowClient, run_id: str) -> RunFacts:
    """Raises InputError for a run that the store does not have, or that was deleted."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        unknown = error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
        hint = "no such run in the store; ids stand in the MLflow UI and at the end of each job"
        raise InputError(f"run {run_id}: {hint if unknown else _first_line(error)}") from error
    if run.info.lifecycle_stage != "active":
        raise InputError(f"run {run_id} was deleted: restore it with `mlflow runs restore --run-id {run_id}`")
    return facts_of(run)


def children(client: MlflowClient, parent_id: str) -> list[RunFacts]:
    """The runs of a sweep, oldest first. Raises InputError for an unknown parent."""
    read_run(client, parent_id)
    experiment = client.get_run(parent_id).info.experiment_id
    wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_id}'"
    return list(search(client, experiment, wanted, "attributes.start_time ASC"))


def search(client: MlflowClient, experiment: str, wanted: str, order: str) -> Iterator[RunFacts]:
    """All runs of an experiment that fit MLflow's filter, page by page, so that a caller can stop early."""
    token = None
    while True:
        page = client.search_runs(
            [experiment], wanted, ViewType.ACTIVE_ONLY, order_by=[order], max_results=_PAGE, page_token=token
        )
        yield from map(facts_of, page)
        token = page.token
        if not token:
            return


def facts_of(run: MlflowRun) -> RunFacts:
    """What MLflow's client gave, in our own terms."""
    info = run.info
    ended = None if info.end_time is None or info.start_time is None else (info.end_time - info.start_time) / 1000
    return RunFacts(
        id=info.run_id,
        name=info.run_name or info.run_id[:8],
        status=info.status,
        started=None if info.start_time is None else info.start_time / 1000,
        seconds=ended,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def differing_params(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    """The params that are not the same in all runs, with each run's value in their order; ABSENT where it has none.

    What may differ between two runs of one configuration (store, cache, ...) is left out.
    """
    names = sorted({name for run in runs for name in run.params if name.partition(".")[0] not in INCIDENTAL})
    values = {name: [run.params.get(name, ABSENT) for run in runs] for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def scored_files(client: MlflowClient, run_id: str) -> list[Scored]:
    """All files of answers and of scored replies that a run holds, of any suite and system."""
    found = []
    waiting: list[str | None] = [None]
    while waiting:
        for entry in client.list_artifacts(run_id, waiting.pop(0)):
            if entry.is_dir and entry.path not in _ELSEWHERE:
                waiting.append(entry.path)
            elif (
                entry.path.rpartition("/")[2].removesuffix(_COMPRESSED) in (ANSWERS, PREDICTIONS) and "/" in entry.path
            ):
                suite, _, system = entry.path.rpartition("/")[0].partition("/")
                found.append(Scored(suite, system, entry.path))
    return found


def read_lines(client: MlflowClient, run_id: str, path: str) -> list[dict[str, Any]]:
    """The objects of an artifact in JSON lines. Raises InputError where it is none."""
    try:
        return [orjson.loads(line) for line in _read(client, run_id, path).splitlines() if line.strip()]
    except orjson.JSONDecodeError as error:
        raise InputError(f"run {run_id}: {path} is broken: {error}") from error


def read_rows(client: MlflowClient, run_id: str, path: str, kind: type[Row]) -> tuple[Row, ...]:
    """The answers or predictions of an artifact as they were; fields that older runs lack keep their defaults.

    Raises InputError where a line lacks what every such row has.
    """
    known = {each.name for each in fields(kind)}
    rows = []
    for line in read_lines(client, run_id, path):
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in line.items() if k in known}
        try:
            rows.append(kind(**given))
        except TypeError as error:
            raise InputError(f"run {run_id}: {path} is none of ours: {error}") from error
    return tuple(rows)


def read_results(client: MlflowClient, run_id: str, suite: str) -> dict[str, Any]:
    """The `evaluation` that a suite's report was written from; empty where the run holds no report of it."""
    for folder in (suite, "report"):  # where evaluate.py, and where train.py puts it
        if any(entry.path == f"{folder}/{RESULTS}" for entry in client.list_artifacts(run_id, folder)):
            results: dict[str, Any] = orjson.loads(_read(client, run_id, f"{folder}/{RESULTS}"))
            return dict(results.get("evaluation") or {})
    return {}


def _read(client: MlflowClient, run_id: str, path: str) -> bytes:
    with TemporaryDirectory() as folder:
        try:
            found = Path(client.download_artifacts(run_id, path, folder)).read_bytes()
            return gzip.decompress(found) if path.endswith(_COMPRESSED) else found
        except (MlflowException, OSError, EOFError) as error:
            raise InputError(f"run {run_id}: {path} cannot be read ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
