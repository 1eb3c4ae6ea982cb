"""New folders, which come to their place whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wikillama.errors import InputError


def check_free(out: Path) -> None:
    """Raises InputError for a place that holds something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"out={out}: there is something already; give a new or an empty folder")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to be filled, which takes its place when the body ends well and vanishes when it does not.

    Raises InputError where `out` holds something, or cannot be written.
    """
    check_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        filling = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise InputError(f"out={out}: cannot be written ({error.strerror})") from error
    try:
        yield filling
        mask = os.umask(0)
        os.umask(mask)
        filling.chmod(0o777 & ~mask)  # mkdtemp keeps others out, and so does safetensors
        for file in filling.rglob("*"):
            file.chmod((0o777 if file.is_dir() else 0o666) & ~mask)
        filling.rename(out)
    except OSError as error:
        raise InputError(f"out={out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(filling, ignore_errors=True)
