"""Whoever finds the store locked waits."""

import sqlite3
import threading
import time
from pathlib import Path

from sqlalchemy import create_engine, text

from wikillama.tracking.sqlite import be_patient


def test_a_locked_store_is_waited_for(tmp_path: Path) -> None:
    be_patient()
    be_patient()  # as every client does
    engine = create_engine(f"sqlite:///{tmp_path}/x.db", connect_args={"timeout": 0})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.5, other.execute, ["COMMIT"]).start()
    started = time.monotonic()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    assert time.monotonic() - started > 0.3
