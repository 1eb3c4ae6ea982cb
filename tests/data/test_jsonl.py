"""JSON lines: GODEL's Wizard of Wikipedia files, files with other field names, and lines that cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import JsonlFields
from wikillama.data.jsonl import read_jsonl
from wikillama.errors import InputError

GODEL = JsonlFields(
    context="Context", knowledge="Knowledge", response="Response", separator=" EOS ", persona_first=True
)
OWN = JsonlFields(context="history", knowledge="facts", response="reply", no_knowledge="none")
GOOD = {"history": ["Hi."], "facts": "Tea is a drink.", "reply": "Hello."}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    return path


@pytest.mark.parametrize(
    ("file", "conversations", "rows", "wizard_opens", "without", "personas"),
    [("godel_wow_valid.jsonl", 981, 4444, 505, 251 + 34, 613), ("godel_wow_test.jsonl", 965, 4356, 491, 246 + 23, 609)],
)
def test_godel_counts(
    wow_data: Path, file: str, conversations: int, rows: int, wizard_opens: int, without: int, personas: int
) -> None:
    dialogues = list(read_jsonl(wow_data / file, GODEL))
    assert len(dialogues) == rows
    assert len({d.id for d in dialogues}) == conversations
    assert sum(len(d.turns) == 1 for d in dialogues) == wizard_opens
    assert sum(d.turns[-1].knowledge is None for d in dialogues) == without
    assert len({d.persona for d in dialogues}) == personas
    assert all([turn.target for turn in d.turns] == [False] * (len(d.turns) - 1) + [True] for d in dialogues)
    assert all(d.turns[-1].speaker == "wizard" for d in dialogues)


def test_godel_line_is_cut_into_persona_and_utterances(tmp_path: Path) -> None:
    row = {
        "Context": "i like tea. EOS Hi. EOS Hello! EOS  Tea?",
        "Knowledge": " Tea is a drink. ",
        "Response": " Yes. ",
    }
    (dialogue,) = read_jsonl(written(tmp_path, row), GODEL)
    assert dialogue.persona == "i like tea."
    assert [(t.speaker, t.text) for t in dialogue.turns] == [
        ("apprentice", "Hi."),
        ("wizard", "Hello!"),
        ("apprentice", "Tea?"),
        ("wizard", "Yes."),
    ]
    assert dialogue.turns[-1].knowledge == "Tea is a drink."


@pytest.mark.parametrize(
    ("facts", "knowledge"),
    [
        ("Tea is a drink.", "Tea is a drink."),
        (["Tea is a drink.", "It is hot."], "Tea is a drink. It is hot."),
        ("none", None),
        ("  ", None),
        ([], None),
        (None, None),
    ],
)
def test_own_fields_and_a_list_as_context(tmp_path: Path, facts: Any, knowledge: str | None) -> None:
    row = {"history": ["Hello!", " ", "Tea?"], "facts": facts, "reply": "Yes, EOS is fine here."}
    (dialogue,) = read_jsonl(written(tmp_path, row), OWN)
    assert dialogue.persona is None
    assert [(t.speaker, t.text) for t in dialogue.turns[:-1]] == [("wizard", "Hello!"), ("apprentice", "Tea?")]
    assert (dialogue.turns[-1].text, dialogue.turns[-1].knowledge) == ("Yes, EOS is fine here.", knowledge)


def test_rows_of_one_conversation_share_an_id(tmp_path: Path) -> None:
    contexts = [[], ["a", "b"], ["a", "b", "c", "d"], ["x"], ["x", "y", "z"], [], []]
    replies = ["a", "c", "e", "y", "w", "a", "a"]
    rows = [{**GOOD, "history": context, "reply": reply} for context, reply in zip(contexts, replies, strict=True)]
    ids = [d.id for d in read_jsonl(written(tmp_path, *rows), OWN)]
    assert [i.removeprefix("rows:") for i in ids] == ["0", "0", "0", "1", "1", "2", "3"]


def test_blank_lines_and_windows_line_ends_are_no_rows(tmp_path: Path) -> None:
    assert len(list(read_jsonl(written(tmp_path, b"", GOOD, b"  \r", GOOD, b"\r"), OWN))) == 2


BAD: list[tuple[Any, str]] = [
    (b'{"history": ["Hi."], "facts', "broken or truncated JSON"),
    (b"[1, 2]", "not a JSON object"),
    (b'{"history": ["caf\xe9"]}', "not UTF-8"),
    ({"history": ["Hi."], "reply": "Hello."}, "no field 'facts'"),
    ({"Context": "Hi.", "facts": "", "reply": "Hello."}, "no field 'history' (it has ['Context', 'facts', 'reply'])"),
    ({**GOOD, "reply": " "}, "'reply' is empty"),
    ({**GOOD, "reply": None}, "'reply' is empty or not text"),
    ({**GOOD, "history": [1]}, "'history' is neither text nor a list of texts"),
    ({**GOOD, "history": None}, "'history' is neither text nor a list of texts"),
    ({**GOOD, "facts": [1]}, "'facts' is neither text nor a list of texts"),
    ({**GOOD, "facts": {"title": "Tea"}}, "'facts' is neither text nor a list of texts"),
]


@pytest.mark.parametrize(("row", "reason"), BAD, ids=lambda value: str(value)[:40])
def test_bad_line_is_named(tmp_path: Path, row: Any, reason: str) -> None:
    path = written(tmp_path, GOOD, GOOD, row, GOOD)
    with pytest.raises(InputError) as caught:
        list(read_jsonl(path, OWN))
    assert str(caught.value).startswith(f"{path}: line 3: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError, match="the file is empty"):
        list(read_jsonl(path, OWN))
