"""Which runs a user means: by id, by a registered version, the last ones, or all of a sweep."""

from collections.abc import Sequence

from mlflow import MlflowClient

from wikillama.config.compare import LAST
from wikillama.config.schema import TrackingConfig
from wikillama.errors import InputError
from wikillama.tracking.description import KIND
from wikillama.tracking.reading import RunFacts, children, read_run, search
from wikillama.tracking.registry.versions import find_version
from wikillama.tracking.sweeps import swept_jobs

_SCORES = ("/f1", "/correct")  # metrics that tell a run which scored something


def chosen_runs(client: MlflowClient, tracking: TrackingConfig, wanted: Sequence[str]) -> list[RunFacts]:
    """The runs that are named, in that order; of `last:N` the oldest first. Raises InputError for what there is not."""
    found: list[RunFacts] = []
    for name in wanted:
        last = LAST.fullmatch(name)
        if last:
            found += _last(client, tracking, int(last[1]))
        elif name.startswith("models:/"):
            found.append(_of_version(client, name))
        else:
            found.append(read_run(client, name.removeprefix("runs:/").partition("/")[0]))
    ids = [run.id for run in found]
    twice = [run for run in found if ids.count(run.id) > 1]
    if twice:
        raise InputError(f"runs={','.join(wanted)}: run {twice[0].id} ({twice[0].name}) is meant twice")
    return found


def runs_of_sweep(client: MlflowClient, parent: str) -> list[RunFacts]:
    """The runs of a sweep in the order of its jobs, with those that were there before it. Raises InputError."""
    if read_run(client, parent).tags.get(KIND) == "sweep":
        found = [job.run for job in swept_jobs(client, parent)]
    else:  # of another tool
        found = children(client, parent)
    if len(found) < 2:
        raise InputError(f"parent={parent}: runs beneath it: {len(found)}; give a sweep of two or more")
    return found


def _last(client: MlflowClient, tracking: TrackingConfig, count: int) -> list[RunFacts]:
    experiment = client.get_experiment_by_name(tracking.experiment)
    found: list[RunFacts] = []
    if experiment is not None:
        finished = "attributes.status = 'FINISHED'"
        for run in search(client, experiment.experiment_id, finished, "attributes.start_time DESC"):
            if any(name.endswith(_SCORES) for name in run.metrics):
                found.append(run)
            if len(found) == count:
                return found[::-1]
    raise InputError(
        f"runs=last:{count}: experiment {tracking.experiment} holds {len(found)} finished runs with scores"
    )


def _of_version(client: MlflowClient, uri: str) -> RunFacts:
    name, slash, number = uri.removeprefix("models:/").rpartition("/")
    if not slash:
        name, _, alias = uri.removeprefix("models:/").partition("@")
        number = f"@{alias}"
    version = find_version(client, name, number)
    if not version.run_id:
        raise InputError(f"{uri}: the version was not made by a run; evaluate it, and name the run of the evaluation")
    return read_run(client, version.run_id)
