"""prepare.py index=true as a user runs it, and training data out of an index."""

import json
import re
from pathlib import Path

import pytest
from one_process import Command, Done, run_all

INDEX = ("index=true", "retriever.source=source", "retriever.on_bad_row=skip")
BAD = {
    "retriever.source=empty": "no .txt, .md, .jsonl",
    "retriever.source=bad.txt": "bad.txt: not UTF-8",
    "retriever.kind=sparse": "retriever.kind='sparse'",
}
FIELDS = {"context": "context", "knowledge": "knowledge", "response": "response", "separator": "null"}
ROWS = (
    "model=tiny", "data=jsonl", "data.train=rows.jsonl", *(f"data.fields.{key}={name}" for key, name in FIELDS.items()),
    "data.fields.persona_first=false", "data.max_length=512",
    "knowledge=retrieved", "knowledge.source=index", "retriever.source=Greeting.txt",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    for name in ("source", "empty"):
        (folder / name).mkdir()
    (folder / "source" / "Tea.txt").write_text("Tea is a drink. It is hot.")
    for bad in (folder / "source" / "bad.txt", folder / "bad.txt"):
        bad.write_bytes(b"\xff")
    rows = [{"context": [f"Hello {n}?"], "knowledge": "Tea is hot.", "response": "Tea!"} for n in range(20)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "Greeting.txt").write_text("Hello is a greeting.")
    return folder


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[tuple[str, ...], list[Done]]:
    """How prepare.py ended by what it was given; the index is made twice."""
    given = [INDEX, INDEX, *(("index=true", bad) for bad in BAD), ROWS]
    places = (f"cache_dir={folder / 'cache'}", f"hydra.run.dir={folder / 'out'}")
    found: dict[tuple[str, ...], list[Done]] = {}
    for arguments, done in zip(given, run_all([Command("prepare.py", g) for g in given], folder, *places), strict=True):
        found.setdefault(arguments, []).append(done)
    return found


def test_an_index_is_made_ahead_and_found_again(ends: dict[tuple[str, ...], list[Done]], folder: Path) -> None:
    first, again = ends[INDEX]
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "bm25: 1 articles, 2 sentences, 3 distinct words" in first.stdout
    assert "bad rows      1, in " in first.stdout
    assert "bad.txt: not UTF-8 (byte 0xff at 0)" in " ".join(first.stdout.split())
    assert first.stdout == again.stdout  # even the time that it took: nothing was made
    said = re.sub(r"\s", "", first.stdout)
    made = [path for path in (folder / "cache" / "indexes").iterdir() if path.is_dir()]
    assert [re.sub(r"\s", "", str(path)) in said for path in made].count(True) == 1
    assert len(made) == 2  # the other is that of Greeting.txt


@pytest.mark.parametrize(("given", "said"), BAD.items(), ids=BAD)
def test_bad_input_is_one_line(ends: dict[tuple[str, ...], list[Done]], given: str, said: str) -> None:
    (done,) = ends["index=true", given]
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_rows_are_prepared_with_what_the_index_has(ends: dict[tuple[str, ...], list[Done]], folder: Path) -> None:
    (done,) = ends[ROWS]
    assert done.returncode == 0, done.stderr
    report = next((folder / "cache" / "prepared").glob("*-train-*/label_report.html"))
    assert "Hello is a greeting." in report.read_text(encoding="utf-8")
