"""The original Wizard of Wikipedia layout: read as it is, however it is laid out, one dialogue at a time."""

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from wikillama.config.paths import ROOT
from wikillama.data import wow
from wikillama.data.dialogue import Dialogue, Passage
from wikillama.data.wow import SPLIT_FILES, read_wow
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
ASK = {"speaker": "0_Apprentice", "text": "  Do you drink tea? ☕ "}
TEA = {"chosen_topic": "Tea", "persona": "i like tea.", "dialog": [ASK, {"speaker": "1_Wizard", "text": "Daily."}]}
FEIGNED = '}, {"chosen_topic": "Coffee"'  # what parts two dialogues, but as a text


def read(content: Any) -> list[Dialogue]:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return list(read_wow(io.BytesIO(raw), "talks", "talks.json"))


def texts(dialogues: list[Dialogue]) -> list[list[str]]:
    return [[turn.text for turn in dialogue.turns] for dialogue in dialogues]


def expected(raw: list[Any]) -> list[list[str]]:
    return [[turn["text"].strip() for turn in dialogue["dialog"]] for dialogue in raw]


CHECKED: list[tuple[Any, str | None]] = [
    ({"chosen_Tea_0": "Tea is a drink.", "self_Tea_1": "Tea is hot."}, "Tea is a drink."),
    ({"chosen_Tea_0": " Tea is a drink.\n"}, "Tea is a drink."),
    ({"no_passages_used": "no_passages_used"}, None),
    ({"chosen_Tea_0": ""}, None),
    ({}, None),
    ([], None),
    (None, None),
    ("Tea is a drink.", "Tea is a drink."),
    ("", None),
]


@pytest.mark.parametrize(("checked", "knowledge"), CHECKED)
@pytest.mark.parametrize("seats", [("0_Apprentice", "1_Wizard"), ("1_Apprentice", "0_Wizard")])
def test_dialogue_is_read(seats: tuple[str, str], checked: Any, knowledge: str | None) -> None:
    found = {
        "retrieved_topics": ["Mug"],
        "retrieved_passages": [{"Mug": ["A mug is a cup.", "It is big."]}, {"Jug": []}],
    }
    reply = {"speaker": seats[1], "text": "Daily.", "checked_sentence": checked, **found}
    raw = {**TEA, "chosen_topic_passage": ["Tea is a drink."], "dialog": [{**ASK, "speaker": seats[0]}, reply]}
    for dialog in (raw["dialog"], raw["dialog"][::-1]):
        (dialogue,) = read([{**raw, "dialog": dialog}])
        assert (dialogue.id, dialogue.topic, dialogue.persona) == ("talks:0", "Tea", "i like tea.")
        assert dialogue.topic_passage == Passage("Tea", ("Tea is a drink.",))
        apprentice, wizard = sorted(dialogue.turns, key=lambda turn: turn.speaker)
        assert (apprentice.speaker, apprentice.text, apprentice.target) == ("apprentice", "Do you drink tea? ☕", False)
        assert (wizard.speaker, wizard.text, wizard.knowledge, wizard.target) == ("wizard", "Daily.", knowledge, True)
        assert wizard.passages == (Passage("Mug", ("A mug is a cup.", "It is big.")), Passage("Jug", ()))


def test_what_may_be_missing() -> None:
    """`checked_sentence`, passages, candidates, topic, persona: a dialogue is a dialogue without them."""
    (dialogue,) = read([{"dialog": [ASK, {"speaker": "1_Wizard", "text": "Daily."}]}])
    assert (dialogue.topic, dialogue.persona, dialogue.topic_passage) == (None, None, None)
    assert [(turn.knowledge, turn.passages, turn.target) for turn in dialogue.turns] == [
        (None, (), False),
        (None, (), True),
    ]


def test_the_real_layout(wow_data: Path) -> None:
    content = (wow_data / "original_layout_train_5.json").read_bytes()
    raw = json.loads(content)
    dialogues = read(content)
    assert (len(dialogues), sum(len(d.turns) for d in dialogues)) == (5, 48)
    assert {d.turns[0].speaker for d in dialogues} == {"wizard", "apprentice"}  # both seats open somewhere
    without = 0
    for dialogue, source in zip(dialogues, raw, strict=True):
        assert (dialogue.topic, dialogue.persona) == (source["chosen_topic"], source["persona"])
        assert dialogue.topic_passage == (source["chosen_topic"], tuple(source["chosen_topic_passage"]))
        for turn, record in zip(dialogue.turns, source["dialog"], strict=True):
            assert turn.speaker == record["speaker"][2:].lower()
            assert turn.target == (turn.speaker == "wizard")
            gold = next(iter(record.get("checked_sentence", {}).values()), None)
            without += gold == "no_passages_used"
            assert turn.knowledge == (None if gold == "no_passages_used" else gold)
            passages = [(title, tuple(found[title])) for found in record["retrieved_passages"] for title in found]
            assert list(turn.passages) == passages
    assert without == 1


@pytest.mark.parametrize("file", SPLIT_FILES.values())
def test_shipped_file_is_read_whole(file: str) -> None:
    content = (MINI / file).read_bytes()
    dialogues = read(content)
    assert texts(dialogues) == expected(json.loads(content))
    assert [dialogue.id for dialogue in dialogues] == [f"talks:{number}" for number in range(len(dialogues))]


def talks() -> list[Any]:
    """Dialogues that are hard to part: with borders in texts and titles, brackets, and nested first keys."""
    odd = [
        FEIGNED,
        FEIGNED + ":",
        '"}, {"chosen_topic":',
        "}]",
        "[{",
        "\\",
        '\\"',
        '}, {\\"chosen_topic\\":',
        "chosen_topic",
    ]
    found = [{FEIGNED: odd}, {'},{"chosen_topic"': []}, {"Tea": ["chosen_topic", *odd]}]
    turns = [{"speaker": f"{n % 2}_{'Wizard' if n % 2 else 'Apprentice'}", "text": text} for n, text in enumerate(odd)]
    first = {**TEA, "chosen_topic_passage": odd, "dialog": [{**turn, "retrieved_passages": found} for turn in turns]}
    return [first, TEA, {**first, "chosen_topic": FEIGNED}, {**TEA, "persona": FEIGNED}]


LAYOUTS: dict[str, Callable[[list[Any]], str]] = {
    "one line": json.dumps,
    "compact": lambda raw: json.dumps(raw, separators=(",", ":"), ensure_ascii=False),
    "indented": lambda raw: f"\n\t {json.dumps(raw, indent=4)} \r\n",
    "a line each": lambda raw: "[\n" + "\n,\n".join(map(json.dumps, raw)) + "\n]\n",
    "far apart": lambda raw: "[" + ("," + " " * 1000).join(map(json.dumps, raw)) + "]",
    "sorted keys": lambda raw: json.dumps(raw, sort_keys=True),
    "differing first keys": lambda raw: json.dumps([*raw[:2], *({k: d[k] for k in reversed(d)} for d in raw), *raw]),
    "other first keys": lambda raw: json.dumps([{"wizard_eval": 5, **raw[0]}, *raw, {"dialog": raw[0]["dialog"]}]),
}


@pytest.mark.parametrize("chunk", [1, 7, 1000, wow._CHUNK])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_neither_layout_nor_chunk_borders_show(
    monkeypatch: pytest.MonkeyPatch, layout: Callable[[list[Any]], str], chunk: int
) -> None:
    monkeypatch.setattr(wow, "_CHUNK", chunk)
    content = layout(talks())
    raw = json.loads(content)
    dialogues = read(content.encode())
    assert texts(dialogues) == expected(raw)
    assert [dialogue.topic for dialogue in dialogues] == [dialogue.get("chosen_topic") for dialogue in raw]
    assert [dialogue.id for dialogue in dialogues] == [f"talks:{number}" for number in range(len(raw))]


@pytest.mark.parametrize("chunk", [7, 1000])
def test_a_shipped_file_in_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    content = (MINI / SPLIT_FILES["valid_seen"]).read_bytes()
    whole = read(content)
    monkeypatch.setattr(wow, "_CHUNK", chunk)
    assert read(content) == whole


class Endless:
    """A stream that makes its bytes when they are read: `count` dialogues, then something broken."""

    def __init__(self, count: int) -> None:
        self.one = json.dumps({**TEA, "chosen_topic_passage": ["x" * 100] * 100}).encode() + b",\n"
        self.left, self.given, self._buffer = count, 0, b"["

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size and self.left:
            self.left -= 1
            self._buffer += self.one if self.left else b'{"chosen_topic": "Tea", "dialog'
        given, self._buffer = self._buffer[:size], self._buffer[size:]
        self.given += len(given)
        return given


def test_one_dialogue_at_a_time_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wow, "_CHUNK", 4096)
    stream = Endless(501)
    dialogues = read_wow(cast(BinaryIO, stream), "endless", "endless.json")
    tracemalloc.start()
    try:
        for number in range(1, 501):
            assert next(dialogues).topic == "Tea"
            assert stream.given <= (number + 1) * len(stream.one) + 4096  # nothing is read ahead of its time
        with pytest.raises(InputError, match="broken or truncated JSON after 500 dialogues"):
            next(dialogues)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stream.given > 5_000_000
    assert peak < 500_000  # bytes: some forty dialogues' worth, of five hundred
