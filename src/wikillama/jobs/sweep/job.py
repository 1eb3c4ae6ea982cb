"""One job of a sweep: run as a child of the sweep's parent, or found among the finished runs."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from pathlib import Path

import torch
from mlflow import MlflowClient

from wikillama.config.failures import Failure
from wikillama.config.schema import TrainConfig
from wikillama.jobs.sweep import state
from wikillama.jobs.sweep.callback import refuse
from wikillama.jobs.sweep.headline import objective_of, said_of
from wikillama.jobs.sweep.plan import values_of
from wikillama.jobs.sweep.state import Job
from wikillama.tracking.facts import config_hash
from wikillama.tracking.run import experiment_id, open_client
from wikillama.tracking.sweeps import SweptJob, break_off, child_of, failed_child, finished_run, link_found, swept_jobs


def run_in_sweep(cfg: TrainConfig, train: Callable[[TrainConfig], object]) -> float | None:
    """Train, and return the objective of the job; outside a sweep just train.

    In a sweep the run is a child of the parent, and registers nothing: which of many is worth a version of the
    registered model is known at the end only. A configuration that a finished run of the experiment holds is not
    trained again, unless `sweep.rerun`. Raises InputError for what cannot be swept.
    """
    job = state.current.get()
    if job is None:
        train(cfg)
        return None
    refuse(cfg.trainer.strategy, cfg.resume)
    client = open_client(cfg.tracking.uri)
    experiment = experiment_id(client, cfg.tracking)
    found = None if cfg.sweep.rerun else finished_run(client, experiment, config_hash(cfg))
    if found is not None:
        link_found(client, job.sweep.parent, job.number, job.overrides, found.id)
        return objective_of(cfg.sweep.objective).of(found)
    values = values_of(job.overrides, job.sweep.plan.swept)
    name = " ".join(f"{key}={value}" for key, value in values.items()) or cfg.tracking.run_name
    tracking = cfg.tracking.model_copy(update={"run_name": name, "register_as": None})
    _forget()
    with child_of(job.sweep.parent, job.number, job.overrides), _console(job.console):
        train(cfg.model_copy(update={"tracking": tracking}))
    done = _swept(client, job)
    return None if done is None else objective_of(cfg.sweep.objective).of(done.run)


def ended(job: Job, name: str, failure: Failure | None) -> str:
    """How a job ended, in one line; sees to it that a failed one leaves a child that says so."""
    client = open_client(job.sweep.tracking.uri)
    done = _swept(client, job)
    if failure is not None and done is None:
        failed_child(client, job.sweep.parent, job.number, job.overrides, name, failure.error)
    if failure is not None and done is not None and done.run.status == "RUNNING":
        break_off(client, done.run.id, "FAILED", failure.error)
    if failure is not None:
        return f"FAILED: {failure.error}"
    if done is None:
        return "left no run"
    if done.found:
        return f"found in run {done.run.id}: {said_of(done.run)}"
    return f"{done.run.status} in {done.run.seconds or 0:.0f} s: {said_of(done.run)}"


def _swept(client: MlflowClient, job: Job) -> SweptJob | None:
    jobs = swept_jobs(client, job.sweep.parent)
    return next((done for done in reversed(jobs) if done.number == job.number), None)


def _console(path: str | None) -> AbstractContextManager[object]:
    """Console output into a file; left where it is without one."""
    if path is None:
        return nullcontext()
    with ExitStack() as stack:
        file = stack.enter_context(Path(path).open("a", encoding="utf-8"))
        stack.enter_context(redirect_stdout(file))
        return stack.pop_all()


def _forget() -> None:
    """Give back what a job before this one held, and let peak memory be this one's own where that can be."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
