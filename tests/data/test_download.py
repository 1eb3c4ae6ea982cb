"""Downloads from a server that misbehaves."""

import gzip
import hashlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from processes import in_process, names, refusal

from wikillama.data import download as downloading
from wikillama.data.download import download, verify

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
    monkeypatch.setattr(downloading, "_PAUSES", (0.01, 0.01, 0.01))  # nobody waits for this server to recover
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{http.server_port}/wow.tgz"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


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
