"""Brings a file here whole and verified.

It is made under a lock as `.part` beside its place, so that a name without `.part` is always complete.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from wikillama.data.hashing import file_sha256
from wikillama.errors import InputError

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all where that is known
_TIMEOUTS = (10.0, 60.0)  # seconds to connect, and seconds without a byte
_PAUSES = (1.0, 3.0, 9.0)  # seconds before each further attempt
_WORTH_ANOTHER = (408, 416, 429)  # besides 5xx; 416: the .part does not fit the file that the server has now
_PIECE = 1 << 16  # bytes; as much is lost at most when a connection breaks
_WAY_OUT = "or fetch it by other means and give data.archive=FILE"


def download(url: str, target: Path, sha256: str | None, progress: Progress | None = None) -> Path:
    """Fetch `url` to `target`, unless the right file is there; goes on where a call that was stopped left its `.part`.

    Of several processes one downloads and the others wait. `progress` counts what was there before, too.

    Raises InputError where the server cannot be reached or refuses, the connection breaks for good, the disk is full,
    or the whole has another sha256. The `.part` stays; if it was complete but wrong, the next call starts anew.
    """

    def make(part: Path) -> None:
        _fetch(url, part, progress)
        found = file_sha256(part)
        beside(part, ".json").unlink(missing_ok=True)  # right or wrong, there is nothing to resume
        if sha256 not in (None, found):
            raise InputError(
                f"{part}: {url} gave a file with sha256 {found[:12]}, expected {str(sha256)[:12]}; "
                f"run the same command again to download it anew, {_WAY_OUT}"
            )
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        _remember(target, found, part.stat())

    return made_once(target, lambda: target.is_file() and sha256 in (None, sha256 and _digest(target)), make)


def made_once(target: Path, done: Callable[[], bool], make: Callable[[Path], None]) -> Path:
    """Make `target` by way of its `.part`, unless it is done or another process does it meanwhile."""
    try:
        if not done():
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(beside(target, ".lock")):
                if not done():
                    make(beside(target, ".part"))
                    beside(target, ".part").replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({reason_of(error)}); mend that and run it again") from error
    return target


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full length, or raise InputError."""
    answered = False
    for pause in (0.0, *_PAUSES):
        time.sleep(pause)
        notes = _notes(beside(part, ".json"))
        start = part.stat().st_size if part.exists() and notes.get("url") == url else 0
        if start and start == notes["total"]:
            return
        headers = {"Accept-Encoding": "identity"}  # what is encoded can neither be resumed nor hashed
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": notes["validator"]}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUTS) as response:
                answered = True
                status = response.status_code
                if 400 <= status < 500 and status not in _WORTH_ANOTHER:
                    raise InputError(f"{url}: {status} {response.reason}, says the server; mend the URL, {_WAY_OUT}")
                _receive(response, url, part, start, notes, progress)
            return
        except (requests.RequestException, HTTPError) as error:
            failure = error
            if not answered:
                raise InputError(f"{url}: no connection ({reason_of(error)}); mend that, {_WAY_OUT}") from error
    size, total = (part.stat().st_size if part.exists() else 0), _notes(beside(part, ".json")).get("total")
    far = f"{size / 1e6:,.1f} MB" + (f" of {total / 1e6:,.1f}" if total else "")
    raise InputError(f"{url}: broke off after {far} ({reason_of(failure)}); run the same command again to resume")


def _receive(
    response: requests.Response, url: str, part: Path, start: int, notes: dict[str, Any], progress: Progress | None
) -> None:
    """Write an answer's body to `part`, behind the `start` bytes that are there if that is what the server sends."""
    sidecar, given = beside(part, ".json"), response.headers
    etag = given.get("ETag", "")
    validator = etag if etag.startswith('"') else given.get("Last-Modified")  # If-Range takes no weak ETag
    if response.status_code == 206:
        fits = start and given.get("Content-Range", "").startswith(f"bytes {start}-")
        if not fits or validator not in (None, notes["validator"]):
            sidecar.unlink(missing_ok=True)
            raise requests.ConnectionError("the server sent another part than was asked for")
        total = notes["total"]
    else:
        if response.status_code == 416:
            sidecar.unlink(missing_ok=True)
        response.raise_for_status()
        sidecar.unlink(missing_ok=True)
        start, total = 0, response.raw.length_remaining  # what Content-Length says, None without one
        part.write_bytes(b"")
        if validator is not None:  # without one nobody can tell later whether the server still has this file
            sidecar.write_text(json.dumps({"url": url, "validator": validator, "total": total}))
    with part.open("ab") as file:
        # not `iter_content`, which would unpack a .tgz that the server labels as encoded
        for piece in response.raw.stream(_PIECE, decode_content=False):
            file.write(piece)
            start += len(piece)
            if progress is not None:
                progress(start, total)
    if total not in (None, start):
        raise requests.ConnectionError("the server closed it early")


def verify(path: Path, sha256: str | None) -> None:
    """Raise InputError unless `path` is a file with that sha256; None asks only that it is there.

    The sha256 is kept beside the file, with its size and time, and computed again when one of these has changed.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        found = sha256 and _digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason_of(error)})") from error
    if found != sha256:
        raise InputError(f"{path}: has sha256 {str(found)[:12]}, expected {str(sha256)[:12]}; fetch it again")


def _digest(path: Path) -> str:
    state, kept = path.stat(), _notes(beside(path, ".verified.json"))
    if (kept.get("size"), kept.get("mtime_ns")) == (state.st_size, state.st_mtime_ns):
        return str(kept["sha256"])
    found = file_sha256(path)
    _remember(path, found, state)
    return found


def _remember(path: Path, sha256: str, state: os.stat_result) -> None:
    with suppress(OSError):  # in a folder that is read-only, it is computed each time
        notes = {"sha256": sha256, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
        beside(path, ".verified.json").write_text(json.dumps(notes))


def _notes(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, TypeError):  # there are none, or the machine stopped while they were written
        return dict(json.loads(path.read_text()))
    return {}


def beside(path: Path, ending: str) -> Path:
    """The path of what belongs to a file: `name` + `ending`."""
    return path.with_name(path.name + ending)


def reason_of(error: BaseException) -> str:
    """The words of the error at the root of `error`: libraries wrap it in several lines."""
    while root := error.__cause__ or error.__context__:
        error = root
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
