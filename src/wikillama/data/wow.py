"""Reads the original Wizard of Wikipedia layout: a JSON list of dialogues, in one file a split.

Source of the layout and of the file names: ParlAI, parlai/tasks/wizard_of_wikipedia (facebookresearch/ParlAI, MIT).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wikillama.data.dialogue import Dialogue, Turn, clean
from wikillama.errors import InputError

SPLIT_FILES = {
    "train": "train.json",
    "valid_seen": "valid_random_split.json",
    "valid_unseen": "valid_topic_split.json",
    "test_seen": "test_random_split.json",
    "test_unseen": "test_topic_split.json",
}
NO_KNOWLEDGE = "no_passages_used"
_CHUNK = 1 << 20  # characters a read; a dialogue of the original files is about 50,000


def read_wow(path: Path) -> Iterator[Dialogue]:
    """Yield the dialogues of one file, holding one at a time in memory.

    Raises InputError where the file is empty, not UTF-8, not a complete JSON list, or a dialogue is malformed.
    """
    for number, raw in enumerate(_stream_list(path)):
        yield _dialogue(raw, f"{path.stem}:{number}", f"{path}: dialogue {number + 1}")


def _stream_list(path: Path) -> Iterator[Any]:
    """The items of a JSON list, parsed one by one from chunks of the file."""
    decoder = json.JSONDecoder()
    try:
        with path.open(encoding="utf-8") as file:
            buffer = file.read(_CHUNK).lstrip()
            if not buffer:
                raise InputError(f"{path}: the file is empty")
            if buffer[0] != "[":
                raise InputError(f"{path}: not a JSON list of dialogues (starts with {buffer[:20]!r})")
            buffer, items, ended = buffer[1:], 0, False
            while True:
                buffer = buffer.lstrip(" \t\r\n,")
                if buffer.startswith("]"):
                    return
                try:
                    item, end = decoder.raw_decode(buffer)
                except json.JSONDecodeError as error:
                    more = "" if ended else file.read(max(_CHUNK, len(buffer)))
                    if not more:
                        raise InputError(
                            f"{path}: broken or truncated JSON after {items} dialogues ({error.msg}); "
                            "get the file again"
                        ) from error
                    ended = len(more) < _CHUNK
                    buffer += more
                    continue
                yield item
                items, buffer = items + 1, buffer[end:]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start} of a read; convert the file to UTF-8") from error


def _dialogue(raw: Any, identity: str, where: str) -> Dialogue:
    if not isinstance(raw, dict) or not isinstance(raw.get("dialog"), list):
        raise InputError(f"{where}: no 'dialog' list; is this the original Wizard of Wikipedia layout?")
    if not raw["dialog"]:
        raise InputError(f"{where}: the dialogue has no turns; remove it")
    turns = tuple(_turn(turn, f"{where}, turn {number + 1}") for number, turn in enumerate(raw["dialog"]))
    return Dialogue(id=identity, turns=turns, topic=raw.get("chosen_topic"), persona=raw.get("persona"))


def _turn(raw: Any, where: str) -> Turn:
    # the digit of a speaker is the seat (0 speaks first), the name is the role: 0_Wizard, 1_Apprentice, ...
    if not isinstance(raw, dict) or not isinstance(raw.get("text"), str) or not isinstance(raw.get("speaker"), str):
        raise InputError(f"{where}: 'text' or 'speaker' is missing or not text")
    text = clean(raw["text"], where)
    if not text:
        raise InputError(f"{where}: the text is empty")
    if "wizard" not in raw["speaker"].lower():
        return Turn("apprentice", text)
    knowledge = _checked_sentence(raw.get("checked_sentence"))
    return Turn("wizard", text, knowledge=knowledge and clean(knowledge, where), target=True)


def _checked_sentence(checked: Any) -> str | None:
    """The sentence of a turn's `checked_sentence`: {key: sentence}, empty, or {no_passages_used: no_passages_used}."""
    sentence = next(iter(checked.values()), "") if isinstance(checked, dict) else checked
    return sentence if isinstance(sentence, str) and sentence not in ("", NO_KNOWLEDGE) else None
