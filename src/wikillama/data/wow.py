"""Reads the original Wizard of Wikipedia layout: a JSON list of dialogues, in one file a split.

Source of the layout and of the file names: ParlAI, parlai/tasks/wizard_of_wikipedia (facebookresearch/ParlAI, MIT).
"""

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any, BinaryIO

import orjson

from wikillama.data.dialogue import BadRow, BadRowError, Dialogue, OnBadRow, Passage, Turn, clean, refuse
from wikillama.errors import InputError

SPLIT_FILES = {
    "train": "train.json",
    "valid_seen": "valid_random_split.json",
    "valid_unseen": "valid_topic_split.json",
    "test_seen": "test_random_split.json",
    "test_unseen": "test_topic_split.json",
}
TOPIC_SPLITS = "topic_splits.json"
# dialogues and turns: ParlAI's own test records of the splits, and the paper's text for the whole (Dinan et al. 2019)
OFFICIAL_COUNTS = {
    "train": (18_430, 166_787),
    "valid_seen": (981, 8_909),
    "test_seen": (965, 8_715),
    "all": (22_311, 201_999),
}
OFFICIAL_TOPICS = 1_365  # Dinan et al. 2019
STUDY_TOPICS = 2_437  # "Optimizing Llama 2 for Knowledge-Grounded Dialogue"
NO_KNOWLEDGE = "no_passages_used"
_CHUNK = 1 << 20  # bytes a read; a dialogue of the original files is about 50,000
_FIRST_KEY = re.compile(rb'\s*\{\s*("(?:[^"\\]|\\.)*")\s*:')
_BORDER = re.compile(rb",\s*(\{)\s*$")  # what stands between two dialogues, before the next one's first key
_BORDER_BYTES = 256  # far more than any indentation needs
_END = re.compile(rb"\}\s*\]\s*$")
_COMMA = re.compile(r"\s*,?\s*")
_DECODER = json.JSONDecoder()


def read_wow(stream: BinaryIO, name: str, where: str, on_bad_row: OnBadRow = refuse) -> Iterator[Dialogue]:
    """Yield the dialogues of one file, holding one at a time in memory; their ids are `name:number`.

    A dialogue that cannot be parsed or used goes to `on_bad_row`, and reading goes on behind it.

    Raises InputError where the file is empty, or not a complete JSON list of objects.
    """
    numbers = count()
    for raw in split_list(stream, where):
        for item, piece in _parsed(raw):
            number = next(numbers)
            try:
                if isinstance(item, BadRowError):
                    raise item
                dialogue = _dialogue(item, f"{name}:{number}")
            except BadRowError as error:
                on_bad_row(BadRow(f"{where}: dialogue {number + 1}", str(error), piece))
                continue
            yield dialogue


def split_list(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The items of a JSON list of objects, as bytes, found without parsing them.

    All dialogues of a file begin with the same key, and no other object in them does: an item ends where ", {" and
    that key follow. Inside a string the key would have its quotes escaped, so text cannot feign a border. Where an
    object begins with another key after all, it stays with the one before it, for the parser to part.
    """
    buffer = bytearray()
    while (opening := _FIRST_KEY.match(buffer, 1)) is None:
        chunk = stream.read(_CHUNK)
        buffer += chunk
        if buffer[:1].isspace():
            del buffer[: len(buffer) - len(buffer.lstrip())]
        if buffer and not buffer.startswith(b"["):
            raise InputError(f"{where}: not a JSON list of dialogues (starts with {bytes(buffer[:20])!r})")
        if not chunk:
            if not buffer:
                raise InputError(f"{where}: the file is empty")
            if buffer[1:].strip() == b"]":
                return
            raise InputError(f"{where}: not a JSON list of dialogues, or cut off in the first; get the file again")
    key = opening.group(1)
    start, scanned, items = buffer.index(b"{", opening.start()), opening.end(), 0
    while True:
        at = buffer.find(key, scanned)
        if at < 0:
            chunk = stream.read(_CHUNK)
            if not chunk:
                break
            scanned = max(scanned, len(buffer) - len(key))
            del buffer[:start]
            start, scanned = 0, scanned - start
            buffer += chunk
            continue
        scanned = at + len(key)
        border = _BORDER.search(buffer, max(start, at - _BORDER_BYTES), at)
        if border:
            yield bytes(buffer[start : border.start()]).rstrip()
            items, start = items + 1, border.start(1)
    end = _END.search(buffer, start)
    if end is None:
        raise InputError(f"{where}: broken or truncated JSON after {items} dialogues; get the file again")
    yield bytes(buffer[start : end.start() + 1])


def _parsed(raw: bytes) -> Iterator[tuple[Any, bytes]]:
    """The objects of an item, almost always one, each with its bytes; a BadRowError for what cannot be read."""
    item = _loaded(raw)
    if not isinstance(item, BadRowError):
        yield item, raw
        return
    text, start = raw.decode(errors="surrogateescape"), 0  # bytes that are not UTF-8 come back unchanged
    while start < len(text):
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):  # where the next object begins, nobody can tell
            end = len(text)
        piece = text[start:end].encode(errors="surrogateescape")
        yield _loaded(piece), piece
        comma = _COMMA.match(text, end)
        start = comma.end() if comma else end


def _loaded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return BadRowError(f"broken JSON or not UTF-8 ({error.msg.split(':')[0]})")


def _dialogue(raw: Any, identity: str) -> Dialogue:
    if not isinstance(raw, dict) or not isinstance(raw.get("dialog"), list):
        raise BadRowError("no 'dialog' list; is this the original Wizard of Wikipedia layout?")
    if not raw["dialog"]:
        raise BadRowError("the dialogue has no turns; remove it")
    topic, persona = raw.get("chosen_topic"), raw.get("persona")
    if not isinstance(topic, str | None) or not isinstance(persona, str | None):
        raise BadRowError("'chosen_topic' or 'persona' is not text")
    turns = []
    for number, turn in enumerate(raw["dialog"], start=1):
        try:
            turns.append(_turn(turn))
        except BadRowError as error:
            raise BadRowError(f"turn {number}: {error}") from error
    passage = _texts(raw.get("chosen_topic_passage") or [], "chosen_topic_passage")
    return Dialogue(identity, tuple(turns), topic, persona, Passage(topic or "", passage) if passage else None)


def _turn(raw: Any) -> Turn:
    # the digit of a speaker is the seat (0 speaks first), the name is the role: 0_Wizard, 1_Apprentice, ...
    if not isinstance(raw, dict) or not isinstance(raw.get("text"), str) or not isinstance(raw.get("speaker"), str):
        raise BadRowError("'text' or 'speaker' is missing or not text")
    text, role = clean(raw["text"]), raw["speaker"].lower()
    if not text:
        raise BadRowError("the text is empty")
    passages = tuple(_passages(raw.get("retrieved_passages") or []))
    if "wizard" in role:
        return Turn("wizard", text, _checked_sentence(raw.get("checked_sentence")), target=True, passages=passages)
    if "apprentice" not in role:
        raise BadRowError(f"the speaker {raw['speaker']!r} is neither Wizard nor Apprentice")
    return Turn("apprentice", text, passages=passages)


def _passages(raw: Any) -> Iterator[Passage]:
    if not isinstance(raw, list) or not all(isinstance(found, dict) for found in raw):
        raise BadRowError("'retrieved_passages' is not a list of {title: sentences}")
    for found in raw:
        for title, sentences in found.items():
            yield Passage(title, _texts(sentences, "retrieved_passages"))


def _texts(raw: Any, field: str) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        raise BadRowError(f"'{field}' is not a list of sentences")
    return tuple(raw)


def _checked_sentence(checked: Any) -> str | None:
    """The sentence of a turn's `checked_sentence`: {key: sentence}, empty, or {no_passages_used: no_passages_used}."""
    sentence = next(iter(checked.values()), "") if isinstance(checked, dict) else checked
    if not isinstance(sentence, str):
        return None
    sentence = sentence.strip()
    return sentence if sentence not in ("", NO_KNOWLEDGE) else None
