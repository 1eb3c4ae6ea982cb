"""What Hydra calls when a sweep starts, and when each of its jobs starts and ends.

There is no `on_multirun_end`: Hydra calls it of sweeps only that nothing broke off, and makes a warning of what it
raises. `close.close_sweep` ends every sweep instead.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from wikillama.config import cli
from wikillama.config.failures import Failure
from wikillama.config.schema import SweepConfig, TrackingConfig
from wikillama.errors import InputError
from wikillama.jobs.sweep import state
from wikillama.jobs.sweep.plan import plan_of, values_of
from wikillama.jobs.sweep.state import Job, Sweep


class SweepCallback(Callback):
    """Opens the parent run of a sweep, and keeps the record of its jobs. A single job knows nothing of it."""

    def __init__(self) -> None:
        self.sweep: Sweep | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        if config.get("dry_run"):
            return
        if "n_trials" in config.hydra.sweeper:
            _quiet_search()
        try:
            self.sweep = _open(config)
        except Exception as error:  # Hydra would warn, and go on without a parent
            cli.stop(error)
        state.opened.set(self.sweep)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if self.sweep is not None and config.hydra.mode == RunMode.MULTIRUN:
            job = _job(self.sweep, config)
            beside = f", see {job.console}" if job.console else ""
            print(f"{job}: {_values(job)}{beside}", flush=True)
            state.current.set(job)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if self.sweep is None or config.hydra.mode != RunMode.MULTIRUN:
            return
        from wikillama.jobs.sweep.job import ended

        returned = job_return.return_value
        job = _job(self.sweep, config)
        failure = returned if isinstance(returned, Failure) else None
        print(f"{job}: {_values(job)}: {ended(job, _values(job), failure)}", flush=True)
        state.current.set(None)


def _open(config: DictConfig) -> Sweep:
    """Open the parent run. Raises InputError for what cannot be swept."""
    plan = plan_of(config.hydra)
    refuse(config.trainer.get("strategy", "auto"), config.get("resume"))
    tracking = cli.validate(config.tracking, TrackingConfig)
    swept = cli.validate(config.sweep, SweepConfig)
    from wikillama.tracking.run import experiment_id, open_client
    from wikillama.tracking.sweeps import close_abandoned, open_parent

    client = open_client(tracking.uri)
    experiment = experiment_id(client, tracking)
    left = close_abandoned(client, experiment)
    if left:
        print(f"{left} runs that a dead process left open are now KILLED", flush=True)
    chosen = OmegaConf.select(config, "hydra.runtime.choices.experiment")
    name = tracking.run_name or (str(chosen) if chosen else "sweep")
    parent = open_parent(client, experiment, name, {"wikillama.sweep.over": str(plan)[:5000]})
    number = f"{plan.jobs} jobs" if plan.jobs is not None else "jobs"
    print(f"sweep: {number} over {str(plan) or 'nothing'}, parent run {parent}", flush=True)
    return Sweep(parent, tracking, swept, plan, os.getpid())


def _quiet_search() -> None:
    """Optuna tells of each study that it makes, on a handler of its own; what a search comes to, the sweep says."""
    with suppress(ImportError):
        from optuna.logging import set_verbosity

        set_verbosity(logging.ERROR)


def refuse(strategy: str, resume: str | None) -> None:
    """What a job of a sweep may not be. Raises InputError."""
    if strategy != "auto":
        raise InputError(
            f"trainer.strategy={strategy}: the processes of a distributed job cannot be started by Hydra's -m; "
            "run its jobs one by one, without -m"
        )
    if resume is not None:
        raise InputError(
            f"resume={resume} goes on with one run: leave -m away; a sweep goes on when the same command is given again"
        )


def _job(sweep: Sweep, config: DictConfig) -> Job:
    """The job of a configuration; its own output is kept apart where it runs beside others."""
    beside = os.getpid() != sweep.pid
    console = str(Path(config.hydra.runtime.output_dir) / "console.txt") if beside else None
    return Job(sweep, int(config.hydra.job.num), tuple(config.hydra.overrides.task), console)


def _values(job: Job) -> str:
    values = values_of(job.overrides, job.sweep.plan.swept)
    return " ".join(f"{key}={value}" for key, value in values.items()) or "as it is"
