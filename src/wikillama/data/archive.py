"""Reads or unpacks an archive of dialogues without trusting it.

What is unpacked is made under a lock as `.part` beside its place, so that a name without `.part` is always complete.
"""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from wikillama.data.download import Progress, made_once, reason_of
from wikillama.errors import InputError

_BLOCK = 1 << 20
_BROKEN = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


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

    return made_once(folder, folder.is_dir, make)


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
        raise InputError(f"{archive}: cannot be read ({reason_of(error)})") from error
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
