"""Patience with a store on sqlite that several processes write to."""

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import event
from sqlalchemy.engine import Engine

_SECONDS = 120  # Python's own 5 are nearly used up by four processes that write without pause on two busy cores


def be_patient() -> None:
    """Let whoever opens an sqlite database in this process wait for others to be done, instead of failing."""
    if not event.contains(Engine, "connect", _wait):
        event.listen(Engine, "connect", _wait)


def _wait(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {_SECONDS * 1000}")


@contextmanager
def opened_alone(uri: str) -> Iterator[None]:
    """One process of this machine and user at a time opens a store on sqlite, and so makes its tables.

    MLflow 3.17 looks for them and makes them without a lock: of two jobs that open a new store at once, both may fail.
    """
    if not uri.startswith("sqlite:"):
        yield
        return
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"wikillama-{os.getuid()}-{digest}.lock"):
        yield
