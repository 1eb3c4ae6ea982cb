"""The page that shows what is learnt: it marks replies and nothing else, names faults, and stands by itself."""

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from wikillama.data.label_report import write_label_report
from wikillama.data.prepared import Facts, Prepared, TokenizerSource, prepare

SCRIPT = "<script>alert('tea')</script>"
REPLIES = [f"Answer {i}, <b>bold</b> & “fine” 🍵." for i in range(29)] + [f"Never {SCRIPT} in </mark> a reply."]
SETTINGS = [
    ("byte_tokenizer", "model=tiny", "<|im_end|>"),
    ("smollm2_tokenizer", "model=smollm2_135m", "<|im_end|>"),
    ("llama2_tokenizer", "model=llama2_7b", "</s>"),
]


class Page(HTMLParser):
    """Tags and attributes of a page, and its text by the elements that it stands in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[tuple[tuple[str, ...], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text.append((tuple(self.open), data))

    def inside(self, element: str) -> Iterator[str]:
        """The text of each such element."""
        gathered: list[str] = []
        for path, data in [*self.text, ((), "")]:
            if element in path:
                gathered.append(data)
            elif gathered:
                yield "".join(gathered)
                gathered = []


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda setting: setting[0])
def made(
    request: pytest.FixtureRequest, compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Page, Prepared, str]:
    """The page of thirty turns, the entry, and the end token."""
    name, model, end = request.param
    folder = tmp_path_factory.mktemp(name)
    rows = [
        {"Context": f"me EOS {SCRIPT} question {i}?", "Knowledge": f"Fact {i} <i>.", "Response": reply}
        for i, reply in enumerate(REPLIES)
    ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tokenizer = request.getfixturevalue(name)
    files = [f"data.{split}={file}" for split in ("train", "valid", "test")]
    cfg = compose(model, "data=jsonl", *files, name="prepare")
    source = TokenizerSource(name, lambda: tokenizer)
    entry = prepare(cfg.data, cfg.knowledge, cfg.prompt, "train", source, str(folder))
    path = write_label_report(folder / "page.html", entry, tokenizer, cfg.prompt)
    return Page(path.read_text(encoding="utf-8")), entry, end


def test_marked_is_the_reply_and_its_end(made: tuple[Page, Prepared, str]) -> None:
    page, _, end = made
    shown = [REPLIES[i * 30 // 20] for i in range(20)]  # spread evenly
    marked = list(page.inside("mark"))[1:]  # behind the one that explains the colour
    space = " " if end == "</s>" else ""
    assert [text.removeprefix(space) for text in marked] == [f"{reply}{space}{end}" for reply in shown]
    examples = list(page.inside("pre"))
    assert len(examples) == 20
    for text, reply, number in zip(examples, shown, range(20), strict=True):
        assert text.endswith(f"{reply}{space}{end}")
        assert f"question {number * 30 // 20}?" in text
        assert f"Fact {number * 30 // 20} <i>." in text
    assert "NOT:" not in "".join(data for _, data in page.text)


def test_markup_in_a_dialogue_is_text(made: tuple[Page, Prepared, str]) -> None:
    page, _, _ = made
    assert not {"script", "b"} & set(page.tags)
    assert page.tags.count("mark") == 21
    examples = list(page.inside("pre"))
    assert all(SCRIPT in text for text in examples)
    assert all("<b>bold</b> & “fine” 🍵" in text for text in examples)


def test_counts(made: tuple[Page, Prepared, str]) -> None:
    page, entry, end = made
    shown = "".join(data for path, data in page.text if "table" in path)
    trained = sum(entry.lengths()) - sum(entry.table()["prompt_length"].to_pylist())
    for count in ("Wizard turns30", "without knowledge0", f"tokens{entry.facts.tokens:,}", "history 0, prompt 0"):
        assert count in shown
    assert f"{trained:,} ({trained / entry.facts.tokens:.1%})" in shown
    assert f"end token{end} (id 2)" in shown or f"end token{end} (id 4)" in shown


def test_lengths_are_drawn(made: tuple[Page, Prepared, str]) -> None:
    page, _, _ = made
    assert page.tags.count("figure") == page.tags.count("svg") == 1
    assert page.tags.count("path") > 40  # bars and axes


def test_it_needs_nothing_from_elsewhere(made: tuple[Page, Prepared, str]) -> None:
    page, _, _ = made
    assert not {"link", "script", "img", "iframe", "base", "object", "embed"} & set(page.tags)
    loading = {"src", "href", "xlink:href", "data", "poster", "srcset", "action", "background"}
    for name, value in page.attributes:
        assert name not in loading or value.startswith("#")
        assert not re.search(r"url\(\s*['\"]?(?!#)", value)
    styles = "".join(page.inside("style"))
    assert "color-scheme" in styles
    assert "@import" not in styles
    assert not re.search(r"url\(\s*['\"]?(?!#)", styles)


FAULTS = {
    "the reply ends with the end token": [1, 5, 6, 7, 8],
    "and has no other": [1, 5, 6, 7, 4, 8, 4],
    "no two begin tokens in a row": [1, 1, 6, 7, 8, 4],
    "no padding inside": [1, 5, 6, 7, 0, 4],
}


@pytest.mark.parametrize("fault", [*FAULTS, None])
def test_faults_are_shown(fault: str | None, byte_tokenizer: Any, compose: Callable[..., Any], tmp_path: Path) -> None:
    """Ids of the byte tokenizer: padding 0, begin 1, end 4. A prompt of three tokens."""
    ids = [[1, 5, 6, 7, 8, 4], FAULTS[fault] if fault else [1, 5, 4]]
    lengths = list(map(len, ids))
    table = pa.table(
        {"input_ids": ids, "prompt_length": [3, 3 if fault else 2], "length": lengths, "cut": ["nothing"] * 2}
    )
    table = table.set_column(3, "cut", table["cut"].dictionary_encode())
    with pa.ipc.new_stream(str(tmp_path / "examples.arrow"), table.schema) as writer:
        writer.write_table(table)
    entry = Prepared(tmp_path, Facts("train", replies=2, tokens=sum(lengths)), was_there=True)
    prompt = compose("model=tiny", name="prepare").prompt
    page = Page(write_label_report(tmp_path / "page.html", entry, byte_tokenizer, prompt).read_text(encoding="utf-8"))
    expected = [f"NOT: {fault}"] if fault else []
    if fault == "the reply ends with the end token":
        expected.append("NOT: and has no other")  # "no other" asks for exactly one
    assert [data for path, data in page.text if path[-1:] == ("span",)] == expected
