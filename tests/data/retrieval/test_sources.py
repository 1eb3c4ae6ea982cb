"""Articles out of folders, JSON lines and corpora of dialogues, and what is done with what cannot be read."""

import gzip
import json
from pathlib import Path

import pytest

from wikillama.config.paths import ROOT
from wikillama.data.dialogue import BadRow
from wikillama.data.retrieval.sources import Article, content_hash, files_of, read_articles
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"


def read(source: Path) -> tuple[list[Article], list[BadRow]]:
    bad: list[BadRow] = []
    return list(read_articles(str(source), bad.append, lambda done, size: None)), bad


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "Green_tea.txt").write_bytes("\ufeffIt is old. It is green. It is old.".encode())
    (tmp_path / "a.md").write_text("# Black tea\n\nIt is *black*.", encoding="utf-8")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "note.txt").write_text("Hidden.")
    assert [file.name for file in files_of(str(tmp_path))] == ["a.md", "Green_tea.txt", "empty.txt"]
    assert read(tmp_path) == (
        [
            Article("Black tea", "a.md", ("It is black.",)),
            Article("Green tea", "b/Green_tea.txt", ("It is old.", "It is green.")),  # nothing twice
        ],
        [],
    )


def test_lines_of_an_extract(tmp_path: Path) -> None:
    folder = tmp_path / "AA"
    folder.mkdir()
    lines(
        folder / "wiki_00",
        {"id": "1", "url": "https://example.org/1", "title": " Tea ", "text": "Tea\n\nTea is a drink. It is hot."},
        "",
        {"id": "2", "title": "Redirect", "text": ""},
        {"title": None, "text": ["Split  already. By others.", " "]},
    )
    with gzip.open(tmp_path / "more.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"text": "Zipped."}))
    assert read(tmp_path) == (
        [
            Article("Tea", "https://example.org/1", ("Tea", "Tea is a drink.", "It is hot.")),
            Article(None, "AA/wiki_00: line 4", ("Split already. By others.",)),
            Article(None, "more.jsonl.gz: line 1", ("Zipped.",)),
        ],
        [],
    )
    assert read(folder / "wiki_00")[0][1].source == "wiki_00: line 4"  # a file by itself


def test_what_cannot_be_used_is_said_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Caf\xe9 au lait.")
    lines(
        tmp_path / "b.jsonl",
        {"title": "Tea"},
        '{"text": "cut',
        [1],
        {"text": 5},
        {"text": "Good."},
        {"text": "x", "title": 1},
    )
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write('{"text": "Tea is a drink."}\n' * 1000)
    (tmp_path / "c.jsonl.gz").write_bytes((tmp_path / "c.jsonl.gz").read_bytes()[:-20])
    (tmp_path / "d.jsonl.gz").write_bytes(b"not zipped")
    found, bad = read(tmp_path)
    assert [article.sentences for article in found if article.source.startswith("b")] == [("Good.",)]
    told = {Path(row.where).name: row.reason for row in bad}
    assert told["a.txt"] == "not UTF-8 (byte 0xe9 at 3); save it as UTF-8"
    assert told["b.jsonl: line 1"] == "no field 'text' (it has ['title'])"
    assert told["b.jsonl: line 2"].startswith("broken JSON or not UTF-8")
    assert told["b.jsonl: line 3"] == "not a JSON object"
    assert told["b.jsonl: line 4"].startswith("'text' is neither a string nor a list of strings")
    assert told["b.jsonl: line 6"].endswith("'title' is not a string")
    assert "Compressed file ended" in told["c.jsonl.gz"]
    assert "Not a gzipped file" in told["d.jsonl.gz"]
    assert len(told) == len(bad) == 8


def test_passages_of_a_corpus_come_together_by_title() -> None:
    found, bad = read(MINI)
    assert not bad
    assert len(found) == len({article.title for article in found}) == 90
    mustang = next(article for article in found if article.title == "Ford Mustang")
    assert mustang.source == "train.json"
    assert len(set(mustang.sentences)) == len(mustang.sentences) > 3
    every = {sentence for article in found for sentence in article.sentences}
    for file in MINI.glob("*_split.json"):
        for dialogue in json.loads(file.read_text(encoding="utf-8")):
            for turn in dialogue["dialog"]:
                for passage in turn["retrieved_passages"]:
                    for texts in passage.values():
                        assert every.issuperset(texts)


def test_one_file_of_a_corpus_is_enough(tmp_path: Path) -> None:
    assert len(read(MINI / "test_topic_split.json")[0]) > 1
    (tmp_path / "valid_random_split.json").write_bytes((MINI / "valid_random_split.json").read_bytes())
    assert read(tmp_path)[0] == read(MINI / "valid_random_split.json")[0] != []


def test_a_source_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        files_of(str(tmp_path / "nowhere"))
    (tmp_path / "page.html").write_text("<p>")
    with pytest.raises(InputError, match=r"no \.txt, \.md, \.jsonl, .* file there"):
        files_of(str(tmp_path))


def test_progress_goes_up_to_the_end(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Tea is a drink.")
    lines(tmp_path / "c.jsonl", {"text": "One."}, {"text": "Two."})
    said: list[tuple[int, int]] = []
    list(read_articles(str(tmp_path), lambda row: None, lambda *now: said.append(now)))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert said == sorted(said)
    assert said[0] == (15, size)
    assert said[-1] == (size, size)


def test_the_hash_is_of_names_and_bytes(tmp_path: Path) -> None:
    source, cache = tmp_path / "source", tmp_path / "cache"
    source.mkdir()
    (source / "a.txt").write_text("Tea.")
    (source / "large.txt").write_text("Tea is a drink. " * 70_000)  # large enough for its hash to be remembered
    first = content_hash(str(source), cache)
    assert content_hash(str(source), cache) == first
    assert len(list((cache / "hashes").iterdir())) == 1
    (source / "ignored.png").write_text("x")
    assert content_hash(str(source), cache) == first
    (source / "a.txt").write_text("Tee.")
    second = content_hash(str(source), cache)
    (source / "a.txt").rename(source / "b.txt")
    assert len({first, second, content_hash(str(source), cache)}) == 3
