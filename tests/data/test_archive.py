"""Downloads from a server that misbehaves, and archives that are broken or hostile."""

import gzip
import hashlib
import io
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wikillama.data import archive
from wikillama.data.archive import download, extract, members, open_member, verify
from wikillama.errors import InputError

CONTENT = random.Random(0).randbytes(400_000)
OTHER = random.Random(1).randbytes(300_000)
SHA, OTHER_SHA = (hashlib.sha256(content).hexdigest() for content in (CONTENT, OTHER))


@dataclass
class Server:
    """One file over HTTP. `cuts` and `statuses` are used up, one a request; then all goes well."""

    url: str = ""
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    heeds_if_range: bool = True
    shift: int = 0  # a 206 begins that many bytes early
    most: int | None = None  # bytes at most in a 206
    packs: bool = False  # for clients that take gzip
    length: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes of the body after which the connection is cut
    statuses: list[int] = field(default_factory=list)
    pause: float = 0.0  # seconds before the body
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)  # Range and If-Range of each request
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state = self.state
        asked, condition = self.headers["Range"], self.headers["If-Range"]
        state.asked.append((asked, condition))
        if state.statuses and (status := state.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        same = condition in state.headers.values() or not state.heeds_if_range
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges and same else 0
        if start >= len(state.content):
            self.send_error(416)
            return
        body = state.content[start:]
        self.send_response(206 if start else 200)
        if start:
            start -= state.shift
            body = state.content[start:][: state.most]
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(state.content)}")
        for name, value in state.headers.items():
            self.send_header(name, value)
        if state.packs and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        if state.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(state.pause)
        body = body[: state.cuts.pop(0)] if state.cuts else body
        state.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(archive, "_PAUSES", (0.01, 0.01, 0.01))  # nobody waits for this server to recover
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{http.server_port}/wow.tgz"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def refusal(call: Callable[[], Any]) -> str:
    """The one line with which a call refuses."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def in_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process with `arguments` in the list `a`. It ends with exit code 2 and a line on stderr if it fails."""
    preamble = (
        "import os, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from wikillama.data.archive import download, extract\n"
        "a = sys.argv[1:]\n"
        "sys.excepthook = lambda kind, error, _: (print(error, file=sys.stderr), os._exit(2))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", preamble + code, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )


# --- download ---------------------------------------------------------------------------------------------------


def test_downloads_whole_and_says_how_far_it_is(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "deep" / "wow.tgz"
    assert download(server.url, target, SHA, lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == {"wow.tgz", "wow.tgz.verified.json"}
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 3
    assert server.asked == [(None, None)]


@pytest.mark.parametrize("sha256", [SHA, None])
def test_a_finished_download_needs_no_server(server: Server, tmp_path: Path, sha256: str | None) -> None:
    target = download(server.url, tmp_path / "wow.tgz", sha256)
    assert download("http://127.0.0.1:1/", target, sha256) == target
    assert len(server.asked) == 1


def test_a_wrong_file_in_place_is_replaced(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "wow.tgz"
    target.write_bytes(OTHER)
    assert download(server.url, target, SHA).read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_within_the_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [150_000, 100_000]
    assert download(server.url, tmp_path / "wow.tgz", SHA).read_bytes() == CONTENT
    assert server.asked == [(None, None), ("bytes=150000-", '"one"'), ("bytes=250000-", '"one"')]
    assert server.sent == len(CONTENT)


def test_a_connection_broken_for_good_is_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "wow.tgz"
    server.cuts = [150_000, 0, 0, 0]
    line = refusal(lambda: download(server.url, target, SHA))
    assert line.startswith(f"{server.url}: broke off after 0.1 MB of 0.4 (")
    assert line.endswith("run the same command again to resume")
    assert len(server.asked) == 4
    assert (tmp_path / "wow.tgz.part").read_bytes() == CONTENT[:150_000]
    assert not target.exists()

    seen: list[int] = []
    assert download(server.url, target, SHA, lambda done, _: seen.append(done)).read_bytes() == CONTENT
    assert server.asked[4:] == [("bytes=150000-", '"one"')]
    assert seen[0] > 150_000
    assert names(tmp_path) == {"wow.tgz", "wow.tgz.verified.json"}


def test_another_address_is_not_resumed_with_this_ones_bytes(server: Server, tmp_path: Path) -> None:
    server.cuts = [150_000, 0, 0, 0]
    refusal(lambda: download(server.url, tmp_path / "wow.tgz", SHA))
    assert download(server.url + "?mirror", tmp_path / "wow.tgz", SHA).read_bytes() == CONTENT
    assert server.asked[-1] == (None, None)


def test_a_server_without_ranges_starts_again_from_zero(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [150_000]
    seen: list[int] = []
    target = download(server.url, tmp_path / "wow.tgz", SHA, lambda done, _: seen.append(done))
    assert target.read_bytes() == CONTENT
    assert server.asked == [(None, None), ("bytes=150000-", '"one"')]
    assert seen[-1] == len(CONTENT)


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_one(
    server: Server, tmp_path: Path, heeds_if_range: bool
) -> None:
    server.cuts = [150_000, 0, 0, 0]
    refusal(lambda: download(server.url, tmp_path / "wow.tgz", None))
    server.content, server.headers, server.heeds_if_range = CONTENT[::-1], {"ETag": '"two"'}, heeds_if_range
    assert download(server.url, tmp_path / "wow.tgz", None).read_bytes() == CONTENT[::-1]


def test_a_server_that_gives_another_range_than_asked_starts_from_zero(server: Server, tmp_path: Path) -> None:
    server.cuts, server.shift = [150_000], 1000
    assert download(server.url, tmp_path / "wow.tgz", SHA).read_bytes() == CONTENT
    assert server.asked == [(None, None), ("bytes=150000-", '"one"'), (None, None)]


def test_a_server_that_gives_less_than_asked_is_asked_for_more(server: Server, tmp_path: Path) -> None:
    server.cuts, server.most = [150_000], 130_000
    assert download(server.url, tmp_path / "wow.tgz", None).read_bytes() == CONTENT
    assert [asked for asked, _ in server.asked] == [None, "bytes=150000-", "bytes=280000-"]


def test_a_part_longer_than_the_file_of_a_careless_server(server: Server, tmp_path: Path) -> None:
    server.cuts = [350_000, 0, 0, 0]
    refusal(lambda: download(server.url, tmp_path / "wow.tgz", OTHER_SHA))
    server.content, server.heeds_if_range = OTHER, False  # it answers 416
    assert download(server.url, tmp_path / "wow.tgz", OTHER_SHA).read_bytes() == OTHER
    assert server.asked[-2:] == [("bytes=350000-", '"one"'), (None, None)]


@pytest.mark.parametrize(
    ("headers", "second"),
    [
        ({"Last-Modified": "Mon, 05 Aug 2019 10:00:00 GMT"}, ("bytes=150000-", "Mon, 05 Aug 2019 10:00:00 GMT")),
        (
            {"ETag": 'W/"weak"', "Last-Modified": "Mon, 05 Aug 2019 10:00:00 GMT"},
            ("bytes=150000-", "Mon, 05 Aug 2019 10:00:00 GMT"),
        ),
        ({"ETag": 'W/"weak"'}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_what_the_server_gives_to_recognise_its_file_by(
    server: Server, tmp_path: Path, headers: dict[str, str], second: tuple[str | None, str | None]
) -> None:
    server.headers, server.cuts = headers, [150_000]
    assert download(server.url, tmp_path / "wow.tgz", SHA).read_bytes() == CONTENT
    assert server.asked == [(None, None), second]


def test_a_length_that_is_not_told(server: Server, tmp_path: Path) -> None:
    server.length = False
    seen: set[int | None] = set()
    target = download(server.url, tmp_path / "wow.tgz", SHA, lambda _, total: seen.add(total))
    assert target.read_bytes() == CONTENT
    assert seen == {None}


def test_a_tgz_labelled_as_encoded_stays_packed(server: Server, tmp_path: Path) -> None:
    server.packs = True  # which must not be asked for, either
    assert download(server.url, tmp_path / "plain.tgz", SHA).read_bytes() == CONTENT
    server.content = gzip.compress(CONTENT)
    server.headers = {"Content-Encoding": "gzip"}
    assert download(server.url, tmp_path / "wow.tgz", None).read_bytes() == server.content


def test_missing_on_the_server(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    line = refusal(lambda: download(server.url, tmp_path / "wow.tgz", SHA))
    assert line.startswith(f"{server.url}: 404 Not Found")
    assert "data.archive=FILE" in line
    assert len(server.asked) == 1


def test_a_server_that_is_busy_is_asked_again_and_keeps_the_part(server: Server, tmp_path: Path) -> None:
    server.statuses, server.cuts = [200, 503, 429], [150_000]
    assert download(server.url, tmp_path / "wow.tgz", SHA).read_bytes() == CONTENT
    assert [asked for asked, _ in server.asked] == [None, "bytes=150000-", "bytes=150000-", "bytes=150000-"]
    server.statuses = [503] * 4
    assert "503" in refusal(lambda: download(server.url, tmp_path / "again.tgz", SHA))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{closed}/wow.tgz", "Connection refused"),
        ("nonsense", "Invalid URL"),
    ],
)
def test_no_network_names_the_way_out(tmp_path: Path, server: Server, url: str, reason: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = url.format(closed=closed.getsockname()[1])
        line = refusal(lambda: download(url, tmp_path / "wow.tgz", SHA))
    assert line.startswith(f"{url}: no connection (")
    assert reason in line
    assert "data.archive=FILE" in line


def test_a_wrong_file_is_kept_for_inspection_and_not_resumed(server: Server, tmp_path: Path) -> None:
    server.content = OTHER
    target = tmp_path / "wow.tgz"
    line = refusal(lambda: download(server.url, target, SHA))
    assert f"sha256 {OTHER_SHA[:12]}, expected {SHA[:12]};" in line
    assert (tmp_path / "wow.tgz.part").read_bytes() == OTHER
    assert not target.exists()
    server.content = CONTENT
    assert download(server.url, target, SHA).read_bytes() == CONTENT
    assert server.asked == [(None, None), (None, None)]


@pytest.mark.parametrize(("after", "requests"), [(200_000, 2), (len(CONTENT), 1)])
def test_killed_while_it_downloads_or_before_it_verifies(
    server: Server, tmp_path: Path, after: int, requests: int
) -> None:
    target = tmp_path / "wow.tgz"
    code = """
def die(done, total):
    if done >= int(a[3]):
        os.kill(os.getpid(), signal.SIGKILL)
download(a[0], Path(a[1]), a[2], die)
"""
    process = in_process(code, server.url, target, SHA, after)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    assert 0 < (tmp_path / "wow.tgz.part").stat().st_size <= len(CONTENT)
    if after == len(CONTENT):  # the last bytes were still on their way to the disk
        (tmp_path / "wow.tgz.part").write_bytes(CONTENT)
    assert download(server.url, target, SHA).read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_a_full_disk_keeps_the_part(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "wow.tgz"
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
download(a[0], Path(a[1]), a[2])
"""
    process = in_process(code, server.url, target, SHA)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors == f"{target}: cannot be written (File too large); mend that and run it again\n"
    assert (tmp_path / "wow.tgz.part").read_bytes() == CONTENT[:100_000]
    assert download(server.url, target, SHA).read_bytes() == CONTENT
    assert server.asked[1:] == [("bytes=100000-", '"one"')]


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    server.pause = 1.0
    code = "download(a[0], Path(a[1]), a[2])"
    both = [in_process(code, server.url, tmp_path / "wow.tgz", SHA) for _ in range(2)]
    assert [process.communicate(timeout=20)[1] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "wow.tgz").read_bytes() == CONTENT
    assert server.asked == [(None, None)]


# --- verify -----------------------------------------------------------------------------------------------------


def test_verify_names_what_it_expected_and_found(tmp_path: Path) -> None:
    path = tmp_path / "wow.tgz"
    assert refusal(lambda: verify(path, None)) == f"{path}: there is no such file"
    path.write_bytes(CONTENT)
    verify(path, None)
    assert names(tmp_path) == {"wow.tgz"}
    verify(path, SHA)
    line = refusal(lambda: verify(path, OTHER_SHA))
    assert line.startswith(f"{path}: has sha256 {SHA[:12]}, expected {OTHER_SHA[:12]};")


def test_verify_remembers_a_file_until_its_size_or_time_changes(tmp_path: Path) -> None:
    path = tmp_path / "wow.tgz"
    path.write_bytes(CONTENT)
    verify(path, SHA)
    time_of_it = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(time_of_it, time_of_it))
    verify(path, SHA)  # it did not look: that is what it is for
    os.utime(path, ns=(time_of_it, time_of_it + 1))
    assert "expected" in refusal(lambda: verify(path, SHA))
    path.write_bytes(OTHER)
    os.utime(path, ns=(time_of_it, time_of_it + 1))
    verify(path, OTHER_SHA)


@pytest.mark.parametrize("notes", [b"", b"[1, 2]", b"7", b"{", b"\xff\x00"])
def test_notes_that_were_half_written_are_made_again(tmp_path: Path, notes: bytes) -> None:
    path = tmp_path / "wow.tgz"
    path.write_bytes(CONTENT)
    sidecar = tmp_path / "wow.tgz.verified.json"
    sidecar.write_bytes(notes)
    verify(path, SHA)
    assert json.loads(sidecar.read_text())["sha256"] == SHA


def test_verify_where_no_notes_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "wow.tgz"
    path.write_bytes(CONTENT)
    (tmp_path / "wow.tgz.verified.json").mkdir()  # stops root, too, as a read-only folder would not
    verify(path, SHA)
    verify(path, SHA)
    assert "expected" in refusal(lambda: verify(path, OTHER_SHA))


# --- extract, members, open_member ------------------------------------------------------------------------------

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
    "zipped, but no tar": ("wow.tgz", lambda tgz, tar: gzip.compress(CONTENT)),
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
