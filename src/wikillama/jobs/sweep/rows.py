"""The rows of a sweep's table, the best of them, and those that no other beats."""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wikillama.config.schema import direction
from wikillama.jobs.sweep.fronts import front
from wikillama.jobs.sweep.headline import ADAPTER_MB, FIT_S, TOKENS_PER_S, Headline, objective_of
from wikillama.jobs.sweep.plan import values_of
from wikillama.jobs.sweep.state import Sweep
from wikillama.tracking.sweeps import ERROR, SweptJob

# what a good result may cost, and whether little of it is good
COSTS: dict[str, tuple[Headline, bool]] = {
    "size": (ADAPTER_MB, True),
    "time": (FIT_S, True),
    "speed": (TOKENS_PER_S, False),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A job: what sets it apart, and what came of it."""

    number: int  # from 1, as people count
    values: dict[str, str]  # of the swept keys
    job: SweptJob
    fronts: tuple[str, ...] = ()  # the kinds of cost for which no other job gives more

    @property
    def finished(self) -> bool:
        return self.job.run.status == "FINISHED"

    @property
    def status(self) -> str:
        return "found" if self.job.found else self.job.run.status

    @property
    def error(self) -> str:
        return self.job.run.tags.get(ERROR, "")

    @property
    def name(self) -> str:
        return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in self.values.items())

    @property
    def command(self) -> str:
        """What trains it again, by itself."""
        script = Path(sys.argv[0]).name
        return f"python {script} " + " ".join(shlex.quote(override) for override in self.job.overrides)


def rows_of(sweep: Sweep, jobs: Sequence[SweptJob]) -> list[Row]:
    """All jobs that have begun, in their order, with the fronts that they are on."""
    rows = [Row(job.number + 1, values_of(job.overrides, sweep.plan.swept), job) for job in jobs]
    fronts = {kind: _front(rows, sweep.config.objective, *cost) for kind, cost in COSTS.items()}
    return [replace(row, fronts=tuple(kind for kind, on in fronts.items() if row.number in on)) for row in rows]


def best_of(rows: Sequence[Row], objective: str) -> Row | None:
    """The finished job with the best objective, the first of equals; None where no job has one."""
    known = {row.number: merit for row in rows if (merit := _merit(row, objective)) is not None}
    return max((row for row in rows if row.number in known), key=lambda row: known[row.number], default=None)


def _front(rows: Sequence[Row], objective: str, cost: Headline, little: bool) -> set[int]:
    """The numbers of the jobs that no other beats."""
    known = [
        (row.number, merit, paid if little else -paid)
        for row in rows
        if (merit := _merit(row, objective)) is not None and (paid := cost.of(row.job.run)) is not None
    ]
    return {known[place][0] for place in front([(merit, paid) for _, merit, paid in known])}


def _merit(row: Row, objective: str) -> float | None:
    """The objective of a finished job, turned so that more is better."""
    value = objective_of(objective).of(row.job.run)
    if not row.finished or value is None or math.isnan(value):
        return None
    return value if direction(objective) == "maximize" else -value
