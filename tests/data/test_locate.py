"""From an archive, here or on a server, to a folder of files in the cache."""

import hashlib
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig
from wikillama.data.corpus import read_dialogues
from wikillama.data.locate import locate
from wikillama.data.wow import SPLIT_FILES, TOPIC_SPLITS
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
FILES = {*SPLIT_FILES.values(), TOPIC_SPLITS}


def packed(path: Path, *, without: str = "") -> Path:
    """wow_mini, packed like the official archive, with a file that nobody asks for."""
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted((FILES | {"README.md"}) - {without}):
            tar.add(MINI / file, f"wizard/{file}")
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("archive") / "wizard.tgz")


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def configured(**given: Any) -> DataConfig:
    return DataConfig(**{"name": "wow", "format": "wow", **given})


def refusal(data: DataConfig, cache: Path) -> str:
    with pytest.raises(InputError) as caught:
        locate(data, str(cache))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("checked", [True, False])
def test_an_archive_is_unpacked_into_the_cache(archive: Path, tmp_path: Path, checked: bool) -> None:
    seen: list[tuple[int, int | None]] = []
    data = configured(archive=str(archive), sha256=sha(archive) if checked else None)
    found = locate(data, str(tmp_path), lambda done, size: seen.append((done, size)))
    folder = Path(found.path or "")
    assert folder == tmp_path / "corpora" / f"wow-{sha(archive)[:16]}"
    assert {path.name for path in folder.iterdir()} == FILES
    assert all((folder / file).read_bytes() == (MINI / file).read_bytes() for file in FILES)
    assert found.model_copy(update={"path": None}) == data
    assert {size for _, size in seen} == {archive.stat().st_size}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(list(read_dialogues(found, "test_unseen"))) == 10


def test_a_second_call_does_not_unpack_again(archive: Path, tmp_path: Path) -> None:
    data = configured(archive=str(archive))
    folder = Path(locate(data, str(tmp_path)).path or "")
    before = (folder.stat().st_ino, {path: path.stat().st_mtime_ns for path in folder.iterdir()})
    assert locate(data, str(tmp_path)).path == str(folder)
    assert (folder.stat().st_ino, {path: path.stat().st_mtime_ns for path in folder.iterdir()}) == before


def test_another_archive_of_the_same_name_is_unpacked_beside_it(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / archive.name
    other.parent.mkdir()
    packed(other, without=TOPIC_SPLITS)
    folders = {locate(configured(archive=str(path)), str(tmp_path)).path for path in (archive, other)}
    assert len(folders) == 2
    assert sorted((Path(folder or "") / TOPIC_SPLITS).exists() for folder in folders) == [False, True]


def test_a_wrong_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    said = refusal(configured(archive=str(archive), sha256="0" * 64), tmp_path)
    assert said.startswith(f"{archive}: has sha256 {sha(archive)[:12]}, expected 000000000000")
    assert not (tmp_path / "corpora").exists()


def test_an_archive_that_is_none_or_not_there_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.tgz"
    text.write_text("not packed")
    assert refusal(configured(archive=str(text)), tmp_path).startswith(f"{text}: broken, or no .tgz or .tar archive")
    assert refusal(configured(archive=f"{text}.gone"), tmp_path) == f"{text}.gone: there is no such file"


def test_a_cache_that_cannot_be_made_is_named(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given in ({"archive": str(archive)}, {"url": "http://127.0.0.1:9/wizard.tgz"}):
        said = refusal(configured(**given), tmp_path / "file")
        assert said.startswith(f"{tmp_path / 'file'}/")
        assert "cannot be written" in said


@pytest.mark.parametrize(
    "data",
    [
        configured(path=str(MINI), url="http://127.0.0.1:9/never-asked.tgz"),
        configured(format="jsonl", train="rows.jsonl"),
        configured(format="hub", hub_id="user/dataset", train="train"),
    ],
    ids=lambda data: data.format,
)
def test_what_needs_no_archive_stays_as_it_is(data: DataConfig, tmp_path: Path) -> None:
    assert locate(data, str(tmp_path)) is data
    assert not list(tmp_path.iterdir())


@dataclass
class Server:
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = state.files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def test_an_archive_is_downloaded_and_unpacked_once(archive: Path, server: Server, tmp_path: Path) -> None:
    server.files["/wizard.tgz"] = archive.read_bytes()
    data = configured(url=f"{server.url}/wizard.tgz", sha256=sha(archive))
    seen: list[tuple[int, int | None]] = []
    found = locate(data, str(tmp_path), lambda done, size: seen.append((done, size)))
    assert seen[-1] == (archive.stat().st_size, archive.stat().st_size)
    assert [d.id for d in read_dialogues(found, "valid_seen")] == [f"valid_random_split:{n}" for n in range(10)]
    assert locate(data, str(tmp_path)) == found
    assert server.asked == ["/wizard.tgz"]
    assert locate(configured(archive=str(archive)), str(tmp_path)).path == found.path  # the same corpus, once here


def test_a_wrong_download_is_refused(archive: Path, server: Server, tmp_path: Path) -> None:
    server.files["/wizard.tgz"] = archive.read_bytes()
    said = refusal(configured(url=f"{server.url}/wizard.tgz", sha256="0" * 64), tmp_path)
    assert "expected 000000000000" in said
    assert not (tmp_path / "corpora").exists()


def test_a_file_that_the_server_lacks_is_named(server: Server, tmp_path: Path) -> None:
    said = refusal(configured(url=f"{server.url}/gone.tgz"), tmp_path)
    assert said.startswith(f"{server.url}/gone.tgz: 404 ")


def test_addresses_whose_files_share_a_name_are_kept_apart(server: Server, tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "train.json").write_text(json.dumps([{"chosen_topic": version, "dialog": []}]))
        with tarfile.open(tmp_path / version / "wizard.tgz", "w:gz") as tar:
            tar.add(tmp_path / version / "train.json", "train.json")
        server.files[f"/{version}/wizard.tgz"] = (tmp_path / version / "wizard.tgz").read_bytes()
    for version in ("one", "two"):
        found = locate(configured(url=f"{server.url}/{version}/wizard.tgz"), str(tmp_path))
        assert version in (Path(found.path or "") / "train.json").read_text()


def test_the_configured_defaults_name_an_address_and_its_sha256(compose: Callable[..., Any]) -> None:
    data = compose("data=wow", name="prepare").data
    assert (data.path, data.archive) == (None, None)
    assert data.url.startswith("http")
    assert len(data.sha256) == 64
