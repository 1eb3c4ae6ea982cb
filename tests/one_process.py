"""Entry scripts with many command lines in one other process: to start Python and to import torch takes seconds."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wikillama.config.paths import ROOT

HEAVY = ("torch", "transformers", "lightning")
# commands are lists in JSON, one a line: how large a file may grow (-1: any size), the script, its arguments
_RUNNER = """
import contextlib, io, json, os, resource, runpy, sys
heavy, (soft, hard) = sys.argv[1:], resource.getrlimit(resource.RLIMIT_FSIZE)
for line in sys.stdin.read().splitlines():
    limit, *sys.argv = json.loads(line)
    os.environ.pop("HYDRA_FULL_ERROR", None)  # which the entry script sets for its own process
    out, err, code = io.StringIO(), io.StringIO(), None
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if limit == -1 else limit, hard))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    imported = [name for name in heavy if name in sys.modules]
    print(json.dumps([code, out.getvalue(), err.getvalue(), imported]))
"""


class Command(NamedTuple):
    """A script of the checkout and its arguments."""

    script: str
    arguments: Sequence[str]
    file_limit: int = -1  # bytes that a file may grow to; -1: any size


class Done(NamedTuple):
    """How a command ended."""

    returncode: int | None
    stdout: str
    stderr: str
    imported: list[str]  # of HEAVY, by this command or one before it


def run_all(commands: Sequence[Command], folder: Path, *places: str) -> list[Done]:
    """Run `commands` in `folder`, one after another, each with the arguments `places` as well."""
    lines = [[limit, str(ROOT / script), *given, *places] for script, given, limit in commands]
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, *HEAVY],
        cwd=folder, input="\n".join(map(json.dumps, lines)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    ends = [Done(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(ends) == len(commands)
    return ends
