"""The original Wizard of Wikipedia layout: read as it is, streamed, and refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.data import wow
from wikillama.data.dialogue import Dialogue
from wikillama.data.wow import SPLIT_FILES, read_wow
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
ASK = {"speaker": "0_Apprentice", "text": "  Do you drink tea? ☕ "}
CHECKED: list[tuple[Any, str | None]] = [
    ({"chosen_Tea_0": "Tea is a drink.", "self_Tea_1": "Tea is hot."}, "Tea is a drink."),
    ({"no_passages_used": "no_passages_used"}, None),
    ({"chosen_Tea_0": ""}, None),
    ({}, None),
    (None, None),
    ("Tea is a drink.", "Tea is a drink."),
]


def written(folder: Path, content: Any) -> Path:
    path = folder / "dialogues.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize(("checked", "knowledge"), CHECKED)
def test_dialogue_is_read(tmp_path: Path, checked: Any, knowledge: str | None) -> None:
    reply = {"speaker": "1_Wizard", "text": "Daily.", "checked_sentence": checked, "retrieved_passages": [{"x": ["y"]}]}
    raw = {"chosen_topic": "Tea", "persona": "i like tea.", "dialog": [ASK, reply]}
    (dialogue,) = read_wow(written(tmp_path, [raw]))
    assert (dialogue.id, dialogue.topic, dialogue.persona) == ("dialogues:0", "Tea", "i like tea.")
    apprentice, wizard = dialogue.turns
    assert (apprentice.speaker, apprentice.text, apprentice.target) == ("apprentice", "Do you drink tea? ☕", False)
    assert (wizard.speaker, wizard.text, wizard.knowledge, wizard.target) == ("wizard", "Daily.", knowledge, True)


def test_the_real_layout(wow_data: Path) -> None:
    path = wow_data / "original_layout_train_5.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    dialogues = list(read_wow(path))
    assert (len(dialogues), sum(len(d.turns) for d in dialogues)) == (5, 48)
    assert {d.turns[0].speaker for d in dialogues} == {"wizard", "apprentice"}  # both seats open somewhere
    without = 0
    for dialogue, source in zip(dialogues, raw, strict=True):
        assert (dialogue.topic, dialogue.persona) == (source["chosen_topic"], source["persona"])
        for turn, record in zip(dialogue.turns, source["dialog"], strict=True):
            assert turn.speaker == record["speaker"][2:].lower()
            assert turn.target == (turn.speaker == "wizard")
            gold = next(iter(record.get("checked_sentence", {}).values()), None)
            without += gold == "no_passages_used"
            assert turn.knowledge == (None if gold == "no_passages_used" else gold)
    assert without == 1


@pytest.mark.parametrize("file", SPLIT_FILES.values())
def test_shipped_file_is_read_whole(file: str) -> None:
    raw = json.loads((MINI / file).read_text(encoding="utf-8"))
    dialogues = list(read_wow(MINI / file))
    texts = [[turn["text"] for turn in dialogue["dialog"]] for dialogue in raw]
    assert [[turn.text for turn in dialogue.turns] for dialogue in dialogues] == texts
    assert len({dialogue.id for dialogue in dialogues}) == len(raw)


@pytest.mark.parametrize("chunk", [1, 7, 1000, 4096])
def test_chunk_borders_do_not_show(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    path = MINI / SPLIT_FILES["valid_seen"]
    whole = list(read_wow(path))
    monkeypatch.setattr(wow, "_CHUNK", chunk)
    assert list(read_wow(path)) == whole


def test_first_dialogue_comes_before_the_rest_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wow, "_CHUNK", 64)
    start = json.dumps([{"dialog": [ASK]}])[:-1]
    stream = read_wow(written(tmp_path, f"{start}, {' ' * 500} broken".encode()))
    assert next(stream).turns[0].text == "Do you drink tea? ☕"
    with pytest.raises(InputError, match="after 1 dialogues"):
        next(stream)


BAD = {
    b"": "the file is empty",
    b" \n ": "the file is empty",
    b'{"dialog": []}': "not a JSON list",
    b"chosen_topic,persona": "not a JSON list",
    b'[{"dialog": [{"speaker": "0_Wizard", "te': "broken or truncated JSON after 0 dialogues",
    b"[": "broken or truncated JSON after 0 dialogues",
    b"[7]": "dialogue 1: no 'dialog' list",
    b'[{"chosen_topic": "Tea"}]': "dialogue 1: no 'dialog' list",
    b'[{"dialog": []}]': "dialogue 1: the dialogue has no turns",
    b'[{"dialog": [{"speaker": "0_Wizard"}]}]': "dialogue 1, turn 1: 'text'",
    b'[{"dialog": [{"speaker": "0_Wizard", "text": 5}]}]': "dialogue 1, turn 1: 'text'",
    b'[{"dialog": [{"speaker": "0_Wizard", "text": " "}]}]': "dialogue 1, turn 1: the text is empty",
    b'[{"dialog": [{"text": "Hello."}]}]': "dialogue 1, turn 1: 'text' or 'speaker'",
    b'[{"dialog": ["Hello."]}]': "dialogue 1, turn 1: 'text' or 'speaker'",
    b'[{"dialog": [{"speaker": "0_Wizard", "text": "caf\xe9"}]}]': "not UTF-8",
}


@pytest.mark.parametrize(("content", "reason"), BAD.items(), ids=lambda value: repr(value)[:40])
def test_bad_file_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        list(read_wow(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "\n" not in message


def test_truncated_download_says_how_far_it_was_good(tmp_path: Path) -> None:
    content = (MINI / SPLIT_FILES["valid_seen"]).read_bytes()
    path = written(tmp_path, content[: len(content) // 2])
    good: list[Dialogue] = []
    with pytest.raises(InputError) as caught:
        good.extend(read_wow(path))  # keeps what came before the break
    assert len(good) > 1
    assert f"broken or truncated JSON after {len(good)} dialogues" in str(caught.value)
