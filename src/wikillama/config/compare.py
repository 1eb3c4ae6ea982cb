"""The configuration of compare.py, and what it refuses before a store is opened."""

import re
from typing import Any

from pydantic import Field, PositiveInt, field_validator

from wikillama.config.schema import Section, TrackingConfig
from wikillama.errors import InputError

LAST = re.compile(r"last:(\d+)")


class CompareConfig(Section):
    """Which runs are put beside each other, and where the comparison is logged."""

    runs: list[str] = Field(default_factory=list)  # ids, models:/name/3 or @alias, last:N
    parent: str | None = None  # a sweep, all of whose runs are compared
    resamples: PositiveInt = 10_000  # of dialogues, for intervals and p
    tracking: TrackingConfig

    @field_validator("runs", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """One run need not be a list, and an id of digits alone is a text."""
        listed = [] if given is None else given if isinstance(given, list) else [given]
        return [str(one) if isinstance(one, int) else one for one in listed]

    @field_validator("parent", mode="before")
    @classmethod
    def _text(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) else given


def check_compare(cfg: CompareConfig) -> None:
    """Refuse fewer than two runs, and one that is named twice. Raises InputError."""
    if bool(cfg.runs) == bool(cfg.parent):
        raise InputError(
            "compare: give either runs='[ID,ID]' (or runs=last:3, models:/NAME/3), or parent=ID of a sweep"
        )
    twice = [run for run in cfg.runs if cfg.runs.count(run) > 1]
    if twice:
        raise InputError(f"runs: {twice[0]} is named twice")
    counts = [LAST.fullmatch(run) for run in cfg.runs]
    if sum(1 if count is None else int(count[1]) for count in counts) < 2 and cfg.runs:
        raise InputError(f"runs={','.join(cfg.runs)}: one run cannot be compared; name another, or give runs=last:2")
