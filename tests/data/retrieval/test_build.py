"""An index is made once, found again, made again where it must be, and never taken for whole when it is not."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sentence_wheel import with_wheel

from wikillama.config.schema import RetrieverConfig
from wikillama.data.retrieval.build import STAGES, open_index
from wikillama.data.retrieval.index import Index
from wikillama.errors import InputError

# a process of its own, which waits for a line before it opens the index
JOB = """
import sys
from wikillama.config.schema import RetrieverConfig
from wikillama.data.retrieval.build import open_index
print("ready", flush=True)
sys.stdin.readline()
found = open_index(RetrieverConfig(source=sys.argv[1]), sys.argv[2])
print(found.facts.sentences, found.facts.seconds)
"""


def opened(source: Path, cache: Path, **given: Any) -> Index:
    return open_index(RetrieverConfig(source=str(source), **given), str(cache))


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "indexes").iterdir())


def refusal(source: Path, cache: Path, **given: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(source, cache, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_made_once(articles: Path, tmp_path: Path) -> None:
    first, said = opened(articles, tmp_path), list[tuple[str, int, int]]()
    config = RetrieverConfig(source=str(articles))
    again = open_index(config, str(tmp_path), lambda *now: said.append(now))
    assert not said  # nothing was done
    assert again.folder == first.folder
    assert again.facts == first.facts
    assert (first.facts.articles, first.facts.sentences, first.facts.bad_rows) == (5, 13, 0)
    assert first.facts.megabytes == sum(f.stat().st_size for f in first.folder.glob("[!f]*")) / 1e6  # all but the facts
    assert left_in(tmp_path) == [first.folder.name, f"{first.folder.name}.lock"]


def test_progress_is_told_by_stage(articles: Path, tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    open_index(RetrieverConfig(source=str(articles)), str(tmp_path), lambda *now: said.append(now))
    assert list(dict.fromkeys(stage for stage, _, _ in said)) == [*STAGES][:2]  # no vectors, no encoding
    assert all(0 < done <= total for _, done, total in said)


@with_wheel
def test_vectors_are_another_index_and_serve_dense_and_hybrid(articles: Path, tmp_path: Path) -> None:
    bm25, dense = opened(articles, tmp_path), opened(articles, tmp_path, kind="dense")
    hybrid = opened(articles, tmp_path, kind="hybrid", dense_weight=0.5, articles=3)
    assert bm25.folder != dense.folder == hybrid.folder
    assert {"sentence_vectors.npy", "article_vectors.npy"} <= dense.facts.files.keys()
    assert not {"sentence_vectors.npy", "article_vectors.npy"} & bm25.facts.files.keys()


def test_other_content_is_another_index(articles: Path, tmp_path: Path) -> None:
    source = tmp_path / articles.name
    source.write_bytes(articles.read_bytes())
    first = opened(source, tmp_path)
    assert opened(articles, tmp_path).folder == first.folder  # wherever it is
    source.write_bytes(articles.read_bytes() + b'{"text": "Submarines dive."}\n')
    second = opened(source, tmp_path)
    assert second.folder != first.folder
    assert second.search(None, ["submarines"], 1)[0].sentence.text == "Submarines dive."
    assert first.search(None, ["submarines"], 1) == []


@pytest.mark.parametrize("how", ["cut", "gone", "no facts", "bad facts", "same size"])
@pytest.mark.parametrize("name", ["articles.arrow", "indices.csc.index.npy", "vocab.index.json", "idf.npy"])
def test_a_broken_index_is_made_again(
    articles: Path, tmp_path: Path, name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(articles, tmp_path)
    file, facts = first.folder / name, first.folder / "facts.json"
    whole = file.read_bytes()
    if how == "cut":
        file.write_bytes(whole[:-1])
    elif how == "gone":
        file.unlink()
    elif how == "no facts":
        facts.unlink()
    elif how == "bad facts":
        facts.write_text('{"articles": 5, "colour": "red"}')
    else:  # nothing that a size could tell, at the beginning, where each file says what it is
        file.write_bytes(b"\0" * 16 + whole[16:])
    again = opened(articles, tmp_path)
    assert [record.message for record in caplog.records] == [f"{again.folder}: the index is broken, and is made again"]
    assert again.folder == first.folder
    assert file.read_bytes() == whole
    assert again.search(None, ["Ford"], 1)[0].article == "Ford Mustang"
    assert left_in(tmp_path) == [first.folder.name, f"{first.folder.name}.lock"]


def test_bad_rows_stop_it_or_are_counted(articles: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good.jsonl").write_bytes(articles.read_bytes() + b'{"title": "No text"}\n')
    (source / "bad.txt").write_bytes(b"\xff\xfe")
    said = refusal(source, tmp_path)
    assert said.startswith(f"{source / 'bad.txt'}: not UTF-8")
    assert said.endswith("(retriever.on_bad_row=skip goes on without it)")
    assert not any("source" in name and not name.endswith(".lock") for name in left_in(tmp_path))
    facts = opened(source, tmp_path, on_bad_row="skip").facts
    assert (facts.sentences, facts.bad_rows) == (13, 2)
    assert facts.bad_row.startswith(f"{source / 'bad.txt'}: not UTF-8")
    kept = opened(source, tmp_path, on_bad_row="skip").folder / "quarantine.jsonl"
    reasons = [json.loads(line) for line in kept.read_text().splitlines()]
    assert reasons[1] == {"where": f"{source / 'good.jsonl'}: line 6", "reason": "no field 'text' (it has ['title'])"}


def test_a_source_without_a_sentence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n')
    assert refusal(tmp_path / "a.jsonl", tmp_path) == f"retriever.source={tmp_path / 'a.jsonl'}: no sentence in it"
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert "(1 bad rows left out, such as" in refusal(tmp_path / "a.jsonl", tmp_path, on_bad_row="skip")
    assert "no such file or folder" in refusal(tmp_path / "b.jsonl", tmp_path)
    with pytest.raises(InputError, match=r"^retriever\.source: give a folder or file"):
        open_index(RetrieverConfig(), str(tmp_path))


def test_a_cache_that_cannot_be_written_is_said(articles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(articles, tmp_path / "file")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that takes a second or so."""
    path = tmp_path_factory.mktemp("large") / "large.jsonl"
    rows = (
        json.dumps({"title": f"T{n}", "text": [f"Word{n % 997} and w{s * n} go." for s in range(9)]})
        for n in range(1, 9_001)
    )
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def started(large: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has just begun to make its index."""
    command = [sys.executable, "-c", JOB, str(large), str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        while not list(tmp_path.glob("indexes/*.part/articles.arrow")):
            assert process.poll() is None
            time.sleep(0.005)
        yield process
        process.kill()


def test_killed_in_the_middle_it_leaves_nothing_that_counts(
    large: Path, started: subprocess.Popen[str], tmp_path: Path
) -> None:
    started.kill()
    assert started.wait() == -signal.SIGKILL
    (lock, part) = left_in(tmp_path)
    assert (lock[-5:], part[-5:]) == (".lock", ".part")
    index = opened(large, tmp_path)
    assert index.facts.sentences == 81_000
    assert left_in(tmp_path) == [index.folder.name, lock]


def test_of_two_processes_one_makes_it(
    large: Path, started: subprocess.Popen[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = opened(large, tmp_path).facts
    theirs = started.communicate()[0].split()
    assert theirs == ["81000", str(ours.seconds)]
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "another process makes this index; waiting for it"
    ]
    assert len(left_in(tmp_path)) == 2
