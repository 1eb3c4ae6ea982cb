"""The whole of a synchronization, in an order that can be broken off anywhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from wikillama.config.schema import TrackingConfig
from wikillama.errors import InputError
from wikillama.tracking.experiment_page import furnish
from wikillama.tracking.process import PROCESS, is_gone
from wikillama.tracking.remote import is_server
from wikillama.tracking.run import experiment_id, open_client, store_uri
from wikillama.tracking.sync.names import Names
from wikillama.tracking.sync.runs import all_runs, artifact_files, copies_in, fill, make, tag
from wikillama.tracking.sync.versions import sync_versions

_OPEN = ("RUNNING", "SCHEDULED")


@dataclass(frozen=True, slots=True)
class Synced:
    """What a synchronization did."""

    copied: int  # runs
    updated: int  # runs that had changed, or whose copy had been cut off
    unchanged: int
    versions_copied: int
    versions_updated: int
    versions_unchanged: int
    aliases: int  # that were set
    left: tuple[str, ...]  # what was not copied, a line each, with the reason


def sync_store(
    tracking_uri: str, experiment: str, to: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> Synced:
    """Copy what the server at `to` lacks of an experiment in a sqlite store: runs, artifacts, registered versions.

    `progress` is told how many of how many runs are done. Runs that are still open are left for later. Whoever changes
    tags, aliases or descriptions of a copy on the server finds them set back where they differ from the source's.
    Raises InputError for stores of another kind or out of reach, an unknown experiment, and a second sync at a time.
    """
    path = store_uri(tracking_uri).removeprefix("sqlite:///")
    if not tracking_uri.startswith("sqlite:///"):
        raise InputError("sync copies from a sqlite store to a server: give its tracking.uri=sqlite:///PATH")
    if not is_server(to):
        raise InputError("sync: give to=http://HOST:PORT, the address of an MLflow server")
    source, target = open_client(tracking_uri), open_client(to, "to")
    found = source.get_experiment_by_name(experiment)
    if found is None:
        raise InputError(f"tracking.experiment={experiment}: no such experiment in {path}")
    try:
        with FileLock(Path(path).with_suffix(".sync.lock"), timeout=0):
            there = experiment_id(target, TrackingConfig(uri=to, experiment=experiment))
            furnish(target, there)
            return _sync(source, target, found.experiment_id, there, progress)
    except Timeout as error:
        raise InputError(f"sync: another one copies from {path} at this moment; wait for its end") from error
    except MlflowException as error:
        error.add_note("What was copied stays. Call sync again, and it goes on from there.")
        raise


def _sync(
    source: MlflowClient, target: MlflowClient, here: str, there: str, progress: Callable[[int, int], None]
) -> Synced:
    now = int(time.time() * 1000)
    copies = copies_in(target, there)
    left: list[str] = []
    runs = [run for run in all_runs(source, here) if _goes(run, copies, left)]
    fresh = {run.info.run_id for run in runs if run.info.run_id not in copies}
    # all of them before any is filled: what is said in a run may name another
    pairs = {r.info.run_id: (r, copies.get(r.info.run_id) or make(target, there, r)) for r in runs}
    changed = set()
    for done, (run, copy) in enumerate(pairs.values()):
        progress(done, len(pairs))
        if fill(source, target, run, copy, now):
            changed.add(run.info.run_id)
    progress(len(pairs), len(pairs))
    names = Names((here, there), {run_id: copy.info.run_id for run_id, (_, copy) in pairs.items()})
    versions = sync_versions(source, target, pairs, names)
    changed |= {run_id for run_id, (run, copy) in pairs.items() if tag(target, run, copy, names)}
    return Synced(
        copied=len(fresh),
        updated=len(changed - fresh),
        unchanged=len(pairs) - len(changed | fresh),
        versions_copied=versions.copied,
        versions_updated=versions.updated,
        versions_unchanged=versions.unchanged,
        aliases=versions.aliases,
        left=(*left, *versions.left),
    )


def _goes(run: Run, copies: dict[str, Run], left: list[str]) -> bool:
    """Whether a run is copied; if not, `left` is told why."""
    called = f"run {run.info.run_name} ({run.info.run_id})"
    copy = copies.get(run.info.run_id)
    if run.info.status in _OPEN:
        gone = is_gone(run.data.tags.get(PROCESS, ""))
        why = "its process ended without closing it" if gone else "it is still running"
        left.append(f"{called}: {why}; left for later")
    elif copy is not None and copy.info.lifecycle_stage != "active":
        left.append(f"{called}: its copy was deleted there; not copied again")
    elif artifact_files(run) is None:
        left.append(f"{called}: its artifacts are not on this machine, but in {run.info.artifact_uri}; not copied")
    else:
        return True
    return False
