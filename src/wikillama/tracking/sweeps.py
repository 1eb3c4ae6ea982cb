"""A sweep in MLflow: a parent run, and beneath it a child for each job.

A job whose configuration a finished run of the experiment already holds is not run again: the parent names that run in
a tag of its own, `wikillama.sweep.found.<job>`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from wikillama.tracking.description import KIND, NOTE
from wikillama.tracking.facts import code_tags, environment_tags, shown
from wikillama.tracking.process import PROCESS, is_gone, this_process
from wikillama.tracking.reading import RunFacts, children, read_run, search
from wikillama.tracking.run import given_tags

JOB = "wikillama.sweep.job"  # of a child: its number, from 0
OVERRIDES = "wikillama.sweep.overrides"  # of a child: all that its command line says, as a JSON list
ERROR = "wikillama.error"
_FOUND = "wikillama.sweep.found."


@dataclass(frozen=True, slots=True)
class SweptJob:
    """A job of a sweep that has begun. `found`: its run was there before, and is a child of another run or of none."""

    number: int
    overrides: tuple[str, ...]
    run: RunFacts
    found: bool = False


def open_parent(client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]) -> str:
    """Open the run that the jobs of a sweep are children of; its id."""
    given = {KIND: "sweep", PROCESS: this_process(), **tags}
    run = client.create_run(experiment, run_name=name, tags=given | code_tags() | environment_tags())
    return str(run.info.run_id)


@contextmanager
def child_of(parent: str, number: int, overrides: Sequence[str]) -> Iterator[None]:
    """A run that is opened within is a child of `parent`."""
    token = given_tags.set(_child_tags(parent, number, overrides))
    try:
        yield
    finally:
        given_tags.reset(token)


def _child_tags(parent: str, number: int, overrides: Sequence[str]) -> dict[str, str]:
    said = json.dumps([_shown(override) for override in overrides])
    return {MLFLOW_PARENT_RUN_ID: parent, JOB: str(number), OVERRIDES: said, PROCESS: this_process()}


def _shown(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{shown(value)}"


def failed_child(
    client: MlflowClient, parent: str, number: int, overrides: Sequence[str], name: str, error: str
) -> None:
    """A child for a job that failed before it had opened its run."""
    experiment = client.get_run(parent).info.experiment_id
    tags = _child_tags(parent, number, overrides) | {KIND: "train", ERROR: shown(error)[:500]}
    run = client.create_run(experiment, run_name=name, tags=tags)
    client.set_terminated(run.info.run_id, status="FAILED")


def link_found(client: MlflowClient, parent: str, number: int, overrides: Sequence[str], run_id: str) -> None:
    """Let the parent name the run that stands for one of its jobs."""
    said = {"run": run_id, "overrides": [_shown(override) for override in overrides]}
    client.set_tag(parent, f"{_FOUND}{number}", json.dumps(said))


def finished_run(client: MlflowClient, experiment: str, config_hash: str) -> RunFacts | None:
    """The newest finished run of a configuration, whoever started it."""
    wanted = f"tags.`wikillama.config_hash` = '{config_hash}' AND attributes.status = 'FINISHED'"
    return next(search(client, experiment, wanted, "attributes.start_time DESC"), None)


def swept_jobs(client: MlflowClient, parent: str) -> list[SweptJob]:
    """The jobs of a sweep that have begun, in their order."""
    jobs = [
        SweptJob(int(run.tags[JOB]), tuple(json.loads(run.tags[OVERRIDES])), run) for run in children(client, parent)
    ]
    for tag, value in read_run(client, parent).tags.items():
        if tag.startswith(_FOUND):
            said = json.loads(value)
            number = int(tag.removeprefix(_FOUND))
            jobs.append(SweptJob(number, tuple(said["overrides"]), read_run(client, said["run"]), found=True))
    return sorted(jobs, key=lambda job: job.number)


def describe(client: MlflowClient, parent: str, markdown: str) -> None:
    """Say on the parent's page what the sweep came to."""
    client.set_tag(parent, NOTE, markdown)


def break_off(client: MlflowClient, run_id: str, status: str, error: str) -> None:
    """Close a run that its own process can no longer close."""
    client.log_batch(run_id, tags=[RunTag(ERROR, shown(error)[:500])])
    client.set_terminated(run_id, status=status)


def close_children(client: MlflowClient, parent: str, error: str) -> None:
    """Close the children of a sweep that are still open when it ends."""
    for job in swept_jobs(client, parent):
        if job.run.status == "RUNNING" and not job.found:
            break_off(client, job.run.id, "KILLED", error)


def close_abandoned(client: MlflowClient, experiment: str) -> int:
    """Close the runs that are open though their process is gone; how many there were."""
    left = [
        run
        for run in search(client, experiment, "attributes.status = 'RUNNING'", "attributes.start_time ASC")
        if is_gone(run.tags.get(PROCESS, ""))
    ]
    for run in left:
        break_off(client, run.id, "KILLED", "its process ended without a word")
    return len(left)
