"""prepare.py index=true as a user runs it, and training data out of an index."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wikillama.config.paths import ROOT


def run(folder: Path, *given: str) -> "subprocess.CompletedProcess[str]":
    places = (f"cache_dir={folder / 'cache'}", f"hydra.run.dir={folder / 'out'}")
    command = [sys.executable, str(ROOT / "prepare.py"), *given, *places]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_an_index_is_made_ahead_and_found_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "Tea.txt").write_text("Tea is a drink. It is hot.")
    (source / "bad.txt").write_bytes(b"\xff")
    given = ("index=true", f"retriever.source={source}", "retriever.on_bad_row=skip")
    first, again = run(tmp_path, *given), run(tmp_path, *given)
    assert first.returncode == 0, first.stderr
    assert "bm25: 1 articles, 2 sentences, 3 distinct words" in first.stdout
    assert "bad rows      1, in " in first.stdout
    assert "bad.txt: not UTF-8 (byte 0xff at 0)" in " ".join(first.stdout.split())
    assert first.stdout == again.stdout  # even the time that it took: nothing was made
    (folder,) = (path for path in (tmp_path / "cache" / "indexes").iterdir() if path.is_dir())
    assert re.sub(r"\s", "", str(folder)) in re.sub(r"\s", "", first.stdout)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("retriever.source=.", "no .txt, .md, .jsonl"),
        ("retriever.source=bad.txt", "bad.txt: not UTF-8"),
        ("retriever.kind=sparse", "retriever.kind='sparse'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, given: str, said: str) -> None:
    if "bad" in given:
        (tmp_path / "bad.txt").write_bytes(b"\xff")
    done = run(tmp_path, "index=true", given)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_rows_are_prepared_with_what_the_index_has(tmp_path: Path) -> None:
    rows = [{"context": [f"Hello {n}?"], "knowledge": "Tea is hot.", "response": "Tea!"} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "Greeting.txt").write_text("Hello is a greeting.")
    fields = {"context": "context", "knowledge": "knowledge", "response": "response"}
    names = (f"data.fields.{key}={value}" for key, value in fields.items())
    done = run(
        tmp_path, "model=tiny", "data=jsonl", "data.train=rows.jsonl", *names, "data.fields.separator=null",
        "data.fields.persona_first=false", "data.max_length=512",
        "knowledge=retrieved", "knowledge.source=index", "retriever.source=Greeting.txt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = next((tmp_path / "cache" / "prepared").glob("*-train-*/label_report.html"))
    assert "Hello is a greeting." in report.read_text(encoding="utf-8")
