"""Archives that are broken or hostile."""

import gzip
import io
import json
import random
import signal
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import in_process, names, refusal

from wikillama.data.archive import extract, members, open_member
from wikillama.errors import InputError

TRAIN = json.dumps([{"n": i} for i in range(100_000)]).encode()
FILES = {
    "./train.json": TRAIN,
    "wow/test.json": b"[]",
    "./valid.json": random.Random(2).randbytes(512 * 4),
    "READ": b"",
}
WANTED = ["train.json", "test.json", "valid.json"]


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o777
    return info


def packed(path: Path, *more: tuple[tarfile.TarInfo, bytes], files: dict[str, bytes] = FILES) -> Path:
    """An archive of `files`, then `more`; zipped where its name says so."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(entry("./", tarfile.DIRTYPE))
        for info, content in [*((entry(name), content) for name, content in files.items()), *more]:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    path.write_bytes(gzip.compress(data, 1) if path.suffix in (".tgz", ".gz") else data)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("good") / "wow.tgz")


def nothing_left(folder: Path) -> bool:
    return not folder.exists() and not folder.with_name(folder.name + ".part").exists()


@pytest.mark.parametrize("name", ["wow.tgz", "wow.tar.gz", "wow.tar"])
def test_extracts_what_is_wanted_flat(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / name)
    seen: list[tuple[int, int | None]] = []
    folder = extract(path, WANTED, tmp_path / "deep" / "out", lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "deep" / "out"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {n.split("/")[-1]: FILES[n] for n in list(FILES)[:3]}
    assert not any(stat.S_IMODE(p.stat().st_mode) & 0o111 for p in folder.iterdir())
    assert names(folder.parent) == {"out"}
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {path.stat().st_size}
    assert 0 < seen[0][0] < seen[-1][0] <= path.stat().st_size


def test_what_is_extracted_already_needs_no_archive(good: Path, tmp_path: Path) -> None:
    folder = extract(good, WANTED, tmp_path / "out")
    assert extract(tmp_path / "gone.tgz", WANTED, folder) == folder


def test_members_and_open_member(good: Path) -> None:
    assert members(good) == ["train.json", "test.json", "valid.json", "READ"]
    with open_member(good, "train.json") as stream:
        assert stream.read(9) + stream.read() == TRAIN
    with open_member(good, "valid.json") as stream:
        assert stream.read() == FILES["./valid.json"]


def test_an_error_of_the_reader_is_not_taken_for_one_of_the_archive(good: Path) -> None:
    with pytest.raises(ValueError, match="mine"), open_member(good, "train.json"):
        raise ValueError("mine")


HOSTILE: dict[str, tuple[tarfile.TarInfo, bytes]] = {
    "traversal": (entry("../train.json"), b"x"),
    "traversal inside": (entry("a/../other.json"), b"x"),
    "absolute": (entry("/other.json"), b"x"),
    "folder outside": (entry("../x/", tarfile.DIRTYPE), b""),
    "symlink": (entry("other.json", tarfile.SYMTYPE, "test.json"), b""),
    "symlink away": (entry("train.json", tarfile.SYMTYPE, "/etc/passwd"), b""),
    "hardlink": (entry("other.json", tarfile.LNKTYPE, "wow/test.json"), b""),
    "character device": (entry("null", tarfile.CHRTYPE), b""),
    "block device": (entry("disk", tarfile.BLKTYPE), b""),
    "pipe": (entry("pipe", tarfile.FIFOTYPE), b""),
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["wow.tgz", "wow.tar"])
def test_a_hostile_archive_is_refused_as_a_whole(tmp_path: Path, name: str, bad: tuple[tarfile.TarInfo, bytes]) -> None:
    path = packed(tmp_path / name, bad)
    line = refusal(lambda: extract(path, WANTED, tmp_path / "in" / "out"))
    assert line.startswith(f"{path}: refused, {bad[0].name.rstrip('/')!r} is a link, a device or an unsafe path")
    assert nothing_left(tmp_path / "in" / "out")
    assert names(tmp_path) == {name, "in"}
    assert refusal(lambda: members(path)) == line


def test_a_name_made_to_confuse_is_refused_in_one_line(tmp_path: Path) -> None:
    info = entry("odd")
    info.pax_headers = {"path": "od\x00d\nname.json"}
    path = packed(tmp_path / "wow.tgz", (info, b"x"))
    assert r"'od\x00d\nname.json'" in refusal(lambda: extract(path, WANTED, tmp_path / "out"))


def test_a_header_made_to_confuse_is_refused_in_one_line(tmp_path: Path) -> None:
    info = entry("odd")
    info.pax_headers = {"GNU.sparse.map": "1,x"}  # tarfile lets a ValueError out
    path = packed(tmp_path / "wow.tgz", (info, b"x"))
    assert refusal(lambda: extract(path, WANTED, tmp_path / "out")).startswith(f"{path}: broken, ")


def test_a_wanted_name_that_comes_twice(tmp_path: Path) -> None:
    path = packed(tmp_path / "wow.tgz", (entry("b/train.json"), b"other"))
    assert "two files named train.json" in refusal(lambda: extract(path, WANTED, tmp_path / "out"))
    assert nothing_left(tmp_path / "out")
    assert names(extract(path, ["test.json"], tmp_path / "out")) == {"test.json"}


def with_a_bad_block(tar: bytes) -> bytes:
    tgz = gzip.compress(tar, 0)  # blocks that are only stored: a byte, their length in two bytes, two more, the content
    second = 10 + 5 + int.from_bytes(tgz[11:13], "little")
    return tgz[:second] + b"\x07" + tgz[second + 1 :]


BROKEN: dict[str, tuple[str, Callable[[bytes, bytes], bytes]]] = {  # made of a good one's bytes, as .tgz and as .tar
    "empty": ("wow.tgz", lambda tgz, tar: b""),
    "a web page": ("wow.tgz", lambda tgz, tar: b"<!DOCTYPE html><html>not here</html>" * 99),
    "zipped, but no tar": ("wow.tgz", lambda tgz, tar: gzip.compress(random.Random(0).randbytes(400_000))),
    "zip header only": ("wow.tgz", lambda tgz, tar: tgz[:10]),
    "tgz cut early": ("wow.tgz", lambda tgz, tar: tgz[:2000]),
    "tgz cut by one byte": ("wow.tgz", lambda tgz, tar: tgz[:-1]),
    "tgz with a bad checksum": ("wow.tgz", lambda tgz, tar: tgz[:-8] + bytes(4) + tgz[-4:]),
    "tgz with a spoilt sector": ("wow.tgz", lambda tgz, tar: tgz[:9000] + b"\xff" * 512 + tgz[9512:]),
    "tgz with a bad block": ("wow.tgz", lambda tgz, tar: with_a_bad_block(tar)),
    "tgz with an unknown method": ("wow.tgz", lambda tgz, tar: tgz[:2] + b"\x07" + tgz[3:]),
    "tar cut in a file": ("wow.tar", lambda tgz, tar: tar[:5000]),
    "tar cut between files": ("wow.tar", lambda tgz, tar: tar[: tar.index(b"wow/test.json")]),
    "tar cut in a header": ("wow.tar", lambda tgz, tar: tar[: tar.index(b"wow/test.json") + 100]),
    "tar with a broken header": ("wow.tar", lambda tgz, tar: tar.replace(b"wow/test.json", b"wow/pest.json")),
    "tar without its end": ("wow.tar", lambda tgz, tar: tar[: tar.index(b"READ") + 512]),
}


@pytest.mark.parametrize(("name", "spoil"), BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_leaves_nothing(
    tmp_path: Path, good: Path, name: str, spoil: Callable[[bytes, bytes], bytes]
) -> None:
    path = tmp_path / name
    tgz = good.read_bytes()
    path.write_bytes(spoil(tgz, gzip.decompress(tgz)))
    line = refusal(lambda: extract(path, WANTED, tmp_path / "out"))
    assert line.startswith(f"{path}: broken, or no .tgz or .tar archive (")
    assert nothing_left(tmp_path / "out")
    assert refusal(lambda: members(path)) == line


def test_a_break_shows_while_a_member_is_read(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "wow.tgz"
    path.write_bytes(good.read_bytes()[:100_000])

    def read() -> None:
        with open_member(path, "train.json") as stream:
            assert stream.read(100) == TRAIN[:100]
            while stream.read(1000):
                pass

    assert refusal(read).startswith(f"{path}: broken, ")


def test_none_of_the_wanted_says_what_there_is(good: Path, tmp_path: Path) -> None:
    line = f"{good}: holds no b.json or c.json, only 'READ', 'test.json', 'train.json', 'valid.json'"
    assert refusal(lambda: extract(good, ["c.json", "b.json"], tmp_path / "out")) == line
    assert nothing_left(tmp_path / "out")
    with pytest.raises(InputError, match="holds no train, only 'READ'"), open_member(good, "train"):
        pass
    empty = packed(tmp_path / "empty.tar", files={})
    assert refusal(lambda: extract(empty, ["a"], tmp_path / "out")) == f"{empty}: holds no a, only no file at all"


def test_a_missing_archive(tmp_path: Path) -> None:
    path = tmp_path / "wow.tgz"
    line = f"{path}: cannot be read (No such file or directory)"
    assert refusal(lambda: extract(path, WANTED, tmp_path / "out")) == line
    assert refusal(lambda: members(path)) == line
    assert nothing_left(tmp_path / "out")


def test_a_full_disk_leaves_nothing(good: Path, tmp_path: Path) -> None:
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
extract(Path(a[0]), a[2:], Path(a[1]))
"""
    assert len(TRAIN) > 1_000_000
    process = in_process(code, good, tmp_path / "out", *WANTED)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors == f"{tmp_path / 'out'}: cannot be written (File too large); mend that and run it again\n"
    assert nothing_left(tmp_path / "out")


def test_killed_while_it_extracts(good: Path, tmp_path: Path) -> None:
    code = """
calls = []
def die(done, total):
    calls.append(done)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
extract(Path(a[0]), a[2:], Path(a[1]), die)
"""
    folder = tmp_path / "out"
    process = in_process(code, good, folder, *WANTED)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert names(tmp_path / "out.part") == {"train.json"}
    (tmp_path / "out.part" / "left.json").write_bytes(b"of an older version")
    extract(good, WANTED, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {n.split("/")[-1]: FILES[n] for n in list(FILES)[:3]}
    assert names(tmp_path) == {"out"}


def test_two_processes_extract_once(good: Path, tmp_path: Path) -> None:
    code = """
import time
def slow(done, total):
    time.sleep(0.2)
    print("block", file=sys.stderr)
extract(Path(a[0]), a[2:], Path(a[1]), slow)
"""
    both = [in_process(code, good, tmp_path / "out", *WANTED) for _ in range(2)]
    errors = sorted(process.communicate(timeout=20)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert errors[0] == ""  # it waited, and found the work done
    assert set(errors[1].split()) == {"block"}
    assert (tmp_path / "out" / "train.json").read_bytes() == TRAIN
