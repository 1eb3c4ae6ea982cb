"""Helpers of the tests that run processes beside this one, or want a refusal in one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.errors import InputError


def refusal(call: Callable[[], Any]) -> str:
    """The one line with which a call refuses."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def in_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process with `arguments` in the list `a`. It ends with exit code 2 and a line on stderr if it fails."""
    preamble = (
        "import os, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from wikillama.data.archive import extract\n"
        "from wikillama.data.download import download\n"
        "a = sys.argv[1:]\n"
        "sys.excepthook = lambda kind, error, _: (print(error, file=sys.stderr), os._exit(2))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", preamble + code, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
