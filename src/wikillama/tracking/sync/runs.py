"""Runs of one store as runs of another: found again, made, and brought up to date."""

import math
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.uri import is_local_uri

from wikillama.tracking.sync.names import Names

FROM = "wikillama.synced_from"  # tag of a copy: id of the run that it is a copy of
AT = "wikillama.synced_at"  # tag of a copy that is whole: when its making began, in ms since 1970 by the source's clock

_PARAMS, _METRICS, _TAGS = 100, 1000, 100  # of each in a call; MLflow's limits
_PAGE = 500


def all_runs(client: MlflowClient, experiment_id: str, wanted: str = "", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """All runs of an experiment that fit MLflow's filter, oldest first."""
    return list(_pages(client, experiment_id, wanted, view))


def _pages(client: MlflowClient, experiment_id: str, wanted: str, view: int) -> Iterator[Run]:
    token = None
    while True:
        order = ["attributes.start_time ASC"]
        page = client.search_runs([experiment_id], wanted, view, _PAGE, order, token)
        yield from page
        token = page.token
        if not token:
            return


def copies_in(client: MlflowClient, experiment_id: str) -> dict[str, Run]:
    """The copies in a target, those that were deleted there among them, by the id of the run that they are copies of.

    A server that fell over while a copy was being made may hold it twice: the one that was never filled is deleted.
    """
    found: dict[str, Run] = {}
    ranked = sorted(
        all_runs(client, experiment_id, f"tags.`{FROM}` != ''", ViewType.ALL),
        key=lambda run: (run.info.lifecycle_stage != "active", AT not in run.data.tags, run.info.run_id),
    )
    for run in ranked:
        first = found.setdefault(run.data.tags[FROM], run)
        if first is not run and run.info.lifecycle_stage == "active" and AT not in run.data.tags:
            client.delete_run(run.info.run_id)
    return found


def make(client: MlflowClient, experiment_id: str, run: Run) -> Run:
    """An empty copy, marked as such from its first moment, so that no call makes a second one."""
    return client.create_run(experiment_id, run.info.start_time, {FROM: run.info.run_id}, run.info.run_name)


def artifact_files(run: Run) -> tuple[Path, list[Path]] | None:
    """The folder of a run's artifacts and the files in it; None where they are not on this machine."""
    folder = Path(local_file_uri_to_path(run.info.artifact_uri))  # ROOT/RUN/artifacts
    if not is_local_uri(run.info.artifact_uri) or not folder.parents[1].is_dir():
        return None
    return folder, sorted(path for path in folder.rglob("*") if path.is_file())


def fill(source: MlflowClient, target: MlflowClient, run: Run, copy: Run, now: int) -> bool:
    """Bring params, metrics, artifacts, name, status and times of a copy up to date; whether there was anything to do.

    `now`: the time, in ms since 1970, before which the source was read.
    """
    found = artifact_files(run)
    assert found is not None  # the caller saw to it
    folder, files = found
    since = int(copy.data.tags.get(AT, 0))
    # when a file came to its place, which a time of modification does not tell: copying keeps that
    changed = [path for path in files if path.stat().st_ctime_ns // 1_000_000 >= since]
    whole = since > 0 and _same_figures(run, copy) and _same_state(run, copy)
    if whole and not changed:
        return False
    copy_id = copy.info.run_id
    if since:
        target.delete_tag(copy_id, AT)  # not whole again until the end of this
    if not whole:
        params = [Param(key, value) for key, value in run.data.params.items() if key not in copy.data.params]
        for start in range(0, len(params), _PARAMS):
            target.log_batch(copy_id, params=params[start : start + _PARAMS])
        metrics = [m for key in sorted(run.data.metrics) for m in source.get_metric_history(run.info.run_id, key)]
        for start in range(0, len(metrics), _METRICS):  # MLflow passes over what it has already
            target.log_batch(copy_id, metrics=[_bare(metric) for metric in metrics[start : start + _METRICS]])
    for path in changed:
        place = path.parent.relative_to(folder).as_posix()
        target.log_artifact(copy_id, str(path), None if place == "." else place)
    target.update_run(copy_id, status=run.info.status, name=run.info.run_name)
    if run.info.end_time is not None:
        target.set_terminated(copy_id, run.info.status, run.info.end_time)
    target.set_tag(copy_id, AT, str(now))
    return True


def _bare(metric: Metric) -> Metric:
    return Metric(metric.key, metric.value, metric.timestamp, metric.step)


def _same_figures(run: Run, copy: Run) -> bool:
    """Params, and the last value of each metric: what is logged to a run changes one of its last values."""
    theirs = copy.data.metrics
    return run.data.params.items() <= copy.data.params.items() and all(
        key in theirs and (value == theirs[key] or (math.isnan(value) and math.isnan(theirs[key])))
        for key, value in run.data.metrics.items()
    )


def _same_state(run: Run, copy: Run) -> bool:
    ours, theirs = run.info, copy.info
    return (ours.run_name, ours.status, ours.end_time) == (theirs.run_name, theirs.status, theirs.end_time)


def tag(target: MlflowClient, run: Run, copy: Run, names: Names) -> bool:
    """Give a copy the tags of its run that it does not have; whether there were any.

    Tags that only the copy has stay: people put them there.
    """
    wanted = {key: names.translated(value) for key, value in run.data.tags.items() if key not in (FROM, AT)}
    if run.data.tags.get(MLFLOW_PARENT_RUN_ID) not in names.runs:
        wanted.pop(MLFLOW_PARENT_RUN_ID, None)  # until the parent is there as well
    missing = [RunTag(key, value) for key, value in wanted.items() if copy.data.tags.get(key) != value]
    for start in range(0, len(missing), _TAGS):
        target.log_batch(copy.info.run_id, tags=missing[start : start + _TAGS])
    return bool(missing)
