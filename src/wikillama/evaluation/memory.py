"""What systems have said before, so that no system is asked the same twice and an interrupted evaluation goes on."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def key_of(*parts: Any) -> str:
    """A short hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


class Memory:
    """Records by key, kept in one file of JSON lines that only grows.

    A last line that a killed process has left unfinished is not read, and the next one begins on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                    self._records[record.pop("key")] = record
                except (ValueError, KeyError, AttributeError, TypeError):
                    continue

    def get(self, key: str) -> dict[str, Any] | None:
        return self._records.get(key)

    def put(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Keep records, on disk before this returns."""
        new = dict(records)
        self._records |= new
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps({"key": key, **record}, ensure_ascii=False) + "\n" for key, record in new.items())
        with self.path.open("ab") as file:
            file.write(b"\n" * _unfinished(self.path) + lines.encode())
            file.flush()
            os.fsync(file.fileno())


def _unfinished(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
