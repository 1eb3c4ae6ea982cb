"""The sweep that this process has opened, and the job of a sweep that it is at work on."""

from contextvars import ContextVar
from dataclasses import dataclass

from wikillama.config.schema import SweepConfig, TrackingConfig
from wikillama.jobs.sweep.plan import Plan


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep with its parent run; goes to other processes with Hydra's callbacks."""

    parent: str
    tracking: TrackingConfig
    config: SweepConfig
    plan: Plan
    pid: int  # of the process that opened it


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a sweep. Its console output goes to `console` where other jobs are at work beside it."""

    sweep: Sweep
    number: int  # from 0
    overrides: tuple[str, ...]
    console: str | None

    def __str__(self) -> str:
        total = f" of {self.sweep.plan.jobs}" if self.sweep.plan.jobs is not None else ""
        return f"job {self.number + 1}{total}"


opened: ContextVar[Sweep | None] = ContextVar("opened", default=None)
current: ContextVar[Job | None] = ContextVar("current", default=None)
