"""Brings an archive of dialogues here whole and verified, and reads or unpacks it without trusting it.

Everything is made under a lock as `.part` beside its place, so that a name without `.part` is always complete.
"""

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from wikillama.errors import InputError

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all where that is known
_TIMEOUTS = (10.0, 60.0)  # seconds to connect, and seconds without a byte
_PAUSES = (1.0, 3.0, 9.0)  # seconds before each further attempt
_WORTH_ANOTHER = (408, 416, 429)  # besides 5xx; 416: the .part does not fit the file that the server has now
_PIECE = 1 << 16  # bytes; as much is lost at most when a connection breaks
_BLOCK = 1 << 20
_BROKEN = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)
_WAY_OUT = "or fetch it by other means and give data.archive=FILE"


def download(url: str, target: Path, sha256: str | None, progress: Progress | None = None) -> Path:
    """Fetch `url` to `target`, unless the right file is there; goes on where a call that was stopped left its `.part`.

    Of several processes one downloads and the others wait. `progress` counts what was there before, too.

    Raises InputError where the server cannot be reached or refuses, the connection breaks for good, the disk is full,
    or the whole has another sha256. The `.part` stays; if it was complete but wrong, the next call starts anew.
    """

    def make(part: Path) -> None:
        _fetch(url, part, progress)
        found = _hash(part)
        _beside(part, ".json").unlink(missing_ok=True)  # right or wrong, there is nothing to resume
        if sha256 not in (None, found):
            raise InputError(
                f"{part}: {url} gave a file with sha256 {found[:12]}, expected {str(sha256)[:12]}; "
                f"run the same command again to download it anew, {_WAY_OUT}"
            )
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        _remember(target, found, part.stat())

    return _made_once(target, lambda: target.is_file() and sha256 in (None, sha256 and _digest(target)), make)


def _made_once(target: Path, done: Callable[[], bool], make: Callable[[Path], None]) -> Path:
    """Make `target` by way of its `.part`, unless it is done or another process does it meanwhile."""
    try:
        if not done():
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(_beside(target, ".lock")):
                if not done():
                    make(_beside(target, ".part"))
                    _beside(target, ".part").replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({_reason(error)}); mend that and run it again") from error
    return target


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full length, or raise InputError."""
    answered = False
    for pause in (0.0, *_PAUSES):
        time.sleep(pause)
        notes = _notes(_beside(part, ".json"))
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
                raise InputError(f"{url}: no connection ({_reason(error)}); mend that, {_WAY_OUT}") from error
    size, total = (part.stat().st_size if part.exists() else 0), _notes(_beside(part, ".json")).get("total")
    far = f"{size / 1e6:,.1f} MB" + (f" of {total / 1e6:,.1f}" if total else "")
    raise InputError(f"{url}: broke off after {far} ({_reason(failure)}); run the same command again to resume")


def _receive(
    response: requests.Response, url: str, part: Path, start: int, notes: dict[str, Any], progress: Progress | None
) -> None:
    """Write an answer's body to `part`, behind the `start` bytes that are there if that is what the server sends."""
    sidecar, given = _beside(part, ".json"), response.headers
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
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from error
    if found != sha256:
        raise InputError(f"{path}: has sha256 {str(found)[:12]}, expected {str(sha256)[:12]}; fetch it again")


def _digest(path: Path) -> str:
    state, kept = path.stat(), _notes(_beside(path, ".verified.json"))
    if (kept.get("size"), kept.get("mtime_ns")) == (state.st_size, state.st_mtime_ns):
        return str(kept["sha256"])
    found = _hash(path)
    _remember(path, found, state)
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remember(path: Path, sha256: str, state: os.stat_result) -> None:
    with suppress(OSError):  # in a folder that is read-only, it is computed each time
        notes = {"sha256": sha256, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
        _beside(path, ".verified.json").write_text(json.dumps(notes))


def _notes(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, TypeError):  # there are none, or the machine stopped while they were written
        return dict(json.loads(path.read_text()))
    return {}


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _reason(error: BaseException) -> str:
    """The words of the error at the root of `error`: libraries wrap it in several lines."""
    while root := error.__cause__ or error.__context__:
        error = root
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def extract(archive: Path, wanted: Collection[str], folder: Path, progress: Progress | None = None) -> Path:
    """Unpack the files of a .tgz or .tar whose base names are `wanted`, flat, into `folder`, unless that is there.

    Of several processes one unpacks and the others wait. `progress` counts bytes of the archive.

    Raises InputError, and leaves no folder, for an archive that is broken, that holds a link, a device or an unsafe
    path anywhere, a wanted name twice, or none of them, and where the disk is full.
    """

    def make(part: Path) -> None:
        shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
        try:
            part.mkdir()
            _unpack(archive, wanted, part, progress)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    return _made_once(folder, folder.is_dir, make)


def _unpack(archive: Path, wanted: Collection[str], folder: Path, progress: Progress | None) -> None:
    held: set[str] = set()
    with _reading(archive) as (tar, raw):
        size = os.fstat(raw.fileno()).st_size
        for name, member in _files(archive, tar):
            if name in wanted and name in held:
                raise InputError(f"{archive}: refused, it holds two files named {name}")
            held.add(name)
            if name not in wanted:
                continue
            source = cast(BinaryIO, tar.extractfile(member))
            with (folder / name).open("xb") as file:
                while block := source.read(_BLOCK):
                    file.write(block)
                    if progress is not None:
                        progress(raw.tell(), size)
                file.flush()
                os.fsync(file.fileno())
    if held.isdisjoint(wanted):
        raise _lacking(archive, wanted, held)


def members(archive: Path) -> list[str]:
    """The base names of the files in a .tgz or .tar. Raises InputError for one that is broken or unsafe."""
    with _reading(archive) as (tar, _):
        return [name for name, _ in _files(archive, tar)]


@contextmanager
def open_member(archive: Path, name: str) -> Iterator[BinaryIO]:
    """The first file of that base name in a .tgz or .tar, as a stream; what comes after it is not looked at.

    Raises InputError where it is not there, and, also while it is read, where the archive is broken or unsafe.
    """
    held: set[str] = set()
    with _reading(archive) as (tar, _):
        for found, member in _files(archive, tar):
            if found == name:
                yield cast(BinaryIO, tar.extractfile(member))
                return
            held.add(found)
    raise _lacking(archive, [name], held)


def _lacking(archive: Path, wanted: Collection[str], held: Collection[str]) -> InputError:
    shown = ", ".join(sorted(map(repr, held))[:9]) + (f", ... ({len(held)} files)" if len(held) > 9 else "")
    return InputError(f"{archive}: holds no {' or '.join(sorted(wanted))}, only {shown or 'no file at all'}")


class _Header(tarfile.TarInfo):
    """A member's header, read strictly: by itself tarfile takes a broken one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the true mark of the end
            raise
        except Exception as error:  # a header made to confuse brings out ValueError, OverflowError, RecursionError, ...
            raise tarfile.ReadError(str(error)) from error


@contextmanager
def _reading(archive: Path) -> Iterator[tuple[tarfile.TarFile, BinaryIO]]:
    """An archive and the file that it is in; where reading shows it to be broken, that becomes one line."""
    try:
        raw = archive.open("rb")
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({_reason(error)})") from error
    try:
        with raw:
            zipped = raw.peek(2)[:2] == b"\x1f\x8b"
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as tar:
                yield tar, raw
    except _BROKEN as error:
        raise InputError(f"{archive}: broken, or no .tgz or .tar archive ({error}); fetch it again") from error


def _files(archive: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Base name and header of each file, up to the first member that is unsafe."""
    for member in tar:
        path = PurePosixPath(member.name)
        safe = (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts
        try:
            tarfile.data_filter(member, os.curdir)  # knows the paths of other systems, too
        except (tarfile.FilterError, ValueError):  # the latter for a name with a zero byte
            safe = False
        if not safe:
            raise InputError(f"{archive}: refused, {member.name!r} is a link, a device or an unsafe path")
        if member.isfile():
            yield path.name, member
    while tar.fileobj.read(_BLOCK):  # up to gzip's checksum
        pass
