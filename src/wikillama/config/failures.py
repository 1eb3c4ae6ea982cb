"""What went wrong in the jobs of one command: a file that all its processes write to, and the exit code that follows.

Jobs of a sweep may run in processes of their own; what they inherit is the environment, which names the file.
"""

import json
import os
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_VARIABLE = "WIKILLAMA_FAILURES"
USER, OURS, INTERRUPTED = 2, 1, 130  # exit codes


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed, which is also what it returns. `code` is what the job alone would exit with."""

    job: str  # the overrides that set it apart from the other jobs; empty for a single job
    code: int
    error: str  # one line


def common(arguments: Sequence[str]) -> frozenset[str]:
    """The overrides that a command line gives to all jobs of its sweep, written as Hydra gives them to each."""
    found = []
    for argument in arguments:
        with suppress(HydraException):  # an option such as -m
            (override,) = OverridesParser.create().parse_overrides([argument])
            if not override.is_sweep_override():
                found.append(f"{override.get_key_element()}={override.get_value_element_as_str()}")
    return frozenset(found)


def job_name(overrides: Sequence[str], given: Container[str]) -> str:
    """The overrides of a job that were not given to all jobs of its sweep."""
    return " ".join(override for override in overrides if override not in given) or "job"


@contextmanager
def collected() -> Iterator[None]:
    """Jobs that are started within, here or in other processes of this machine, note their failures together."""
    with TemporaryDirectory(prefix="wikillama-") as folder:
        os.environ[_VARIABLE] = str(Path(folder) / "failures.jsonl")
        try:
            yield
        finally:
            del os.environ[_VARIABLE]


def note(failure: Failure) -> Failure:
    """Write a failure down, in one piece even where several processes do so at once."""
    line = json.dumps(asdict(failure)) + "\n"
    with open(os.environ[_VARIABLE], "ab", buffering=0) as file:
        file.write(line.encode())
    return failure


def noted() -> list[Failure]:
    """All failures so far."""
    path = Path(os.environ[_VARIABLE])
    return [Failure(**json.loads(line)) for line in path.read_bytes().splitlines()] if path.exists() else []


def exit_code(failures: Sequence[Failure]) -> int:
    """0 without failures; 130 where one was an interruption; 2 where the user can mend all of them; else 1."""
    codes = {failure.code for failure in failures}
    if INTERRUPTED in codes or not codes:
        return max(codes, default=0)
    return USER if codes == {USER} else OURS
