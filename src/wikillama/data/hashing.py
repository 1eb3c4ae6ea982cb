"""Fingerprints of files."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path, cache: Path) -> str:
    """The sha256 of a file, computed again only when its size or its time of change (ns) differs from the last time.

    Hashing a corpus of a gigabyte takes seconds, more than everything else that a second run does.
    """
    path = path.resolve()
    stat = path.stat()
    seen = {"path": str(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    note = cache / "hashes" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if {key: known[key] for key in seen} == seen:
            return str(known["sha256"])
    digest = file_sha256(path)
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        note.parent.mkdir(parents=True, exist_ok=True)
        half_written = note.with_suffix(f".{os.getpid()}")
        try:
            half_written.write_text(json.dumps({**seen, "sha256": digest}), encoding="utf-8")
            half_written.replace(note)
        finally:
            half_written.unlink(missing_ok=True)
    return digest
