"""Entry scripts within this process, which has loaded torch already."""

import io
import logging
import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from contextvars import copy_context
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from wikillama.config.paths import ROOT


def run_here(script: str, arguments: Sequence[str]) -> int:
    """Run a script of the checkout; its exit code. What it sets in context variables and in the environment ends with
    it, as with a process."""
    root, environment = logging.getLogger(), dict(os.environ)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(ROOT / script), *arguments])
            patch.setattr(root, "handlers", list(root.handlers))
            # Hydra sets logging up anew, which closes all handlers; that of absl then closes its stream: pytest's
            patch.setattr(logging, "shutdown", lambda *_: None)
            os.environ["HYDRA_FULL_ERROR"] = "0"
            with pytest.raises(SystemExit) as ended:
                copy_context().run(runpy.run_path, sys.argv[0], run_name="__main__")
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return int(str(ended.value.code))


def done_here(script: str, arguments: Sequence[str], folder: Path) -> CompletedProcess[str]:
    """Run a script of the checkout in `folder`, and keep what it says."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = run_here(script, arguments)
    return CompletedProcess([script, *arguments], code, out.getvalue(), err.getvalue())
