"""What a sweep is going to do, read off its command line."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig


@dataclass(frozen=True, slots=True)
class Plan:
    """The overrides that take several values, by their key, and how many jobs that makes; None where a sweeper that we
    do not know decides."""

    swept: dict[str, str]
    jobs: int | None

    def __str__(self) -> str:
        return " ".join(f"{key}={values}" for key, values in self.swept.items())


def plan_of(hydra: DictConfig) -> Plan:
    """The plan of a multirun; `hydra` is that node of its configuration."""
    lines = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
    parsed = OverridesParser.create().parse_overrides([*lines, *hydra.overrides.task])
    last = {override.get_key_element(): override for override in parsed}  # the command line wins
    swept = {key: override for key, override in last.items() if override.is_sweep_override()}
    return Plan({key: (o.input_line or "").partition("=")[2] for key, o in swept.items()}, _jobs(hydra, swept))


def _jobs(hydra: DictConfig, swept: dict[str, Override]) -> int | None:
    if "n_trials" in hydra.sweeper:
        return int(hydra.sweeper.n_trials)
    try:
        return math.prod(len(list(override.sweep_string_iterator())) for override in swept.values())
    except HydraException:  # of intervals and globs there is no number
        return None


def values_of(overrides: Sequence[str], keys: Iterable[str]) -> dict[str, str]:
    """What a job's overrides say of the swept keys."""
    said = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    return {key: said.get(key, "") for key in keys}
