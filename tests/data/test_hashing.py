"""Fingerprints of files, remembered until size or time of change differs."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from wikillama.data.hashing import file_sha256, remembered_sha256


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.json"
    path.write_bytes(b"one")
    return path


def exchanged(path: Path, content: bytes, mtime_ns: int) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_a_fingerprint_is_the_sha256_of_the_bytes(file: Path, tmp_path: Path) -> None:
    assert file_sha256(file) == remembered_sha256(file, tmp_path / "cache") == sha(b"one")


def test_it_is_remembered_until_size_or_time_differs(file: Path, tmp_path: Path) -> None:
    cache, then = tmp_path / "cache", file.stat().st_mtime_ns
    assert remembered_sha256(file, cache) == sha(b"one")
    exchanged(file, b"two", then)  # as nobody changes a file: proof that it was not read again
    assert remembered_sha256(file, cache) == sha(b"one")
    exchanged(file, b"two", then + 1)
    assert remembered_sha256(file, cache) == sha(b"two")
    exchanged(file, b"three", then + 1)
    assert remembered_sha256(file, cache) == sha(b"three")


def test_each_file_has_its_own_note(file: Path, tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other" / file.name
    other.parent.mkdir()
    exchanged(other, b"two", file.stat().st_mtime_ns)
    for _ in range(2):
        assert remembered_sha256(file, cache) == sha(b"one")
        assert remembered_sha256(other, cache) == sha(b"two")


def test_a_link_shares_the_note_of_its_file(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    remembered_sha256(file, tmp_path / "cache")
    assert remembered_sha256(link, tmp_path / "cache") == sha(b"one")
    assert len(list((tmp_path / "cache" / "hashes").iterdir())) == 1  # and nothing half-written beside it


@pytest.mark.parametrize("note", ["", '{"path": "', "{}", "[]", "null", json.dumps({"sha256": "0" * 64})])
def test_a_broken_note_is_made_again(file: Path, tmp_path: Path, note: str) -> None:
    cache = tmp_path / "cache"
    remembered_sha256(file, cache)
    (path,) = (cache / "hashes").iterdir()
    whole = path.read_text(encoding="utf-8")
    path.write_text(note, encoding="utf-8")
    assert remembered_sha256(file, cache) == sha(b"one")
    assert path.read_text(encoding="utf-8") == whole


def test_a_cache_that_cannot_be_written_costs_time_alone(file: Path) -> None:
    assert remembered_sha256(file, file) == sha(b"one")  # a folder cannot be made inside a file
    then = file.stat().st_mtime_ns
    exchanged(file, b"two", then)
    assert remembered_sha256(file, file) == sha(b"two")
