"""Rows put together into conversations: every reply a target, its history what its own row said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import KnowledgeConfig, RowFields
from wikillama.data.corpus import read_dialogues
from wikillama.data.dialogue import BadRow, BadRowError, Dialogue, OnBadRow, refuse
from wikillama.data.grounding import ground
from wikillama.data.rows import Row, dialogues_of
from wikillama.errors import InputError

GODEL = RowFields(context="Context", knowledge="Knowledge", response="Response", separator=" EOS ", persona_first=True)
OWN = RowFields(context="history", knowledge="facts", response="reply", no_knowledge="none")
GOOD = {"history": ["Hi."], "facts": "Tea is a drink.", "reply": "Hello."}


def joined(rows: list[Any], fields: RowFields = OWN, on_bad_row: OnBadRow = refuse) -> list[Dialogue]:
    found = (Row(f"rows: line {n}", repr(row).encode(), row) for n, row in enumerate(rows, start=1))
    return list(dialogues_of(found, fields, "rows", on_bad_row))


def said(dialogue: Dialogue) -> list[str]:
    """Utterances, with the speaker's initial; in capitals where it is a target."""
    initials = [turn.speaker[0].upper() if turn.target else turn.speaker[0] for turn in dialogue.turns]
    return [f"{initial} {turn.text}" for initial, turn in zip(initials, dialogue.turns, strict=True)]


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        (
            "godel_wow_valid.jsonl",
            {"all": 4444, "parlai": 3939, "dialogues": 981, "without": 251 + 34, "personas": 613},
        ),
        ("godel_wow_test.jsonl", {"all": 4356, "parlai": 3865, "dialogues": 965, "without": 246 + 23, "personas": 609}),
        ("godel_wow_train.jsonl", {"all": 235, "parlai": 212, "dialogues": 50, "without": 19 + 3, "personas": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_real_rows_lose_nothing(compose: Callable[..., Any], wow_data: Path, file: str, counts: dict[str, int]) -> None:
    rows = [json.loads(line) for line in (wow_data / file).read_text(encoding="utf-8").splitlines()]
    persona_first = "train" not in file
    files = [f"data.{split}={wow_data / file}" for split in ("train", "valid", "test")]
    data = compose("data=jsonl", *files, f"data.fields.persona_first={persona_first}", name="prepare").data
    dialogues = list(read_dialogues(data, "test_seen"))
    examples = list(ground(dialogues, KnowledgeConfig(mode="gold")))
    assert (len(dialogues), len(examples)) == (counts["dialogues"], counts["all"])
    assert sum(example.gold_knowledge is None for example in examples) == counts["without"]
    assert len({dialogue.persona for dialogue in dialogues}) == counts["personas"]
    parlai = read_dialogues(data.model_copy(update={"turns": "parlai"}), "test_seen")
    assert sum(turn.target for dialogue in parlai for turn in dialogue.turns) == counts["parlai"]
    for example, row in zip(examples, rows, strict=True):
        segments = [part.strip() for part in row["Context"].split(" EOS ") if part.strip()]
        assert example.persona == (segments.pop(0) if persona_first else None)
        assert [text for _, text in example.history] == segments
        assert [speaker for speaker, _ in example.history[::-1]] == alternating(len(segments))
        assert example.response == row["Response"].strip()
        assert example.gold_knowledge == (row["Knowledge"].strip().replace("no_passages_used", "") or None)


def alternating(turns: int) -> list[str]:
    """Who spoke, from the turn before a reply backwards."""
    return (["apprentice", "wizard"] * turns)[:turns]


def test_a_line_of_godel_is_cut_into_persona_and_utterances() -> None:
    context = "i like tea. EOS Hi. EOS Hello! EOS  Tea?"
    (dialogue,) = joined([{"Context": context, "Knowledge": " Tea is a drink. ", "Response": " Yes. "}], GODEL)
    assert dialogue.persona == "i like tea."
    assert said(dialogue) == ["a Hi.", "w Hello!", "a Tea?", "W Yes."]
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
def test_own_fields_and_a_list_as_context(facts: Any, knowledge: str | None) -> None:
    row = {"history": ["Hello!", " ", "Tea?"], "facts": facts, "reply": "Yes, EOS is fine here."}
    (dialogue,) = joined([row])
    assert (dialogue.persona, dialogue.topic) == (None, None)
    assert said(dialogue) == ["w Hello!", "a Tea?", "W Yes, EOS is fine here."]
    assert dialogue.turns[-1].knowledge == knowledge


def test_topic_and_persona_have_fields_of_their_own() -> None:
    fields = OWN.model_copy(update={"topic": "about", "persona": "who"})
    known, unknown = joined([{**GOOD, "about": " Tea ", "who": "i like tea."}, {**GOOD, "about": None}], fields)
    assert (known.topic, known.persona) == ("Tea", "i like tea.")
    assert (unknown.topic, unknown.persona) == (None, None)


def talk(*rows: tuple[list[str], str]) -> list[Any]:
    return [{**GOOD, "history": context, "facts": f"fact of {reply}", "reply": reply} for context, reply in rows]


def test_rows_that_go_on_from_one_another_are_one_dialogue() -> None:
    rows = talk(([], "a"), (["a", "b"], "c"), (["a", "b", "c", "d"], "e"), (["x"], "y"), (["x", "y", "z"], "w"))
    opened, answered = joined(rows)
    assert (opened.id, said(opened)) == ("rows:0", ["W a", "a b", "W c", "a d", "W e"])
    assert (answered.id, said(answered)) == ("rows:1", ["a x", "W y", "a z", "W w"])
    assert [turn.knowledge for turn in opened.turns] == ["fact of a", None, "fact of c", None, "fact of e"]


@pytest.mark.parametrize(
    "rows",
    [
        talk(([], "a"), ([], "a")),  # opens again
        talk((["x"], "y"), (["x"], "z")),  # another reply to the same
        talk((["x"], "y"), (["x", "not y", "z"], "w")),
        talk((["x", "y", "z"], "w"), (["x"], "y")),  # the other way round
        [{**GOOD, "history": [], "who": "i like tea."}, {**GOOD, "history": ["Hello."], "who": "i like milk."}],
    ],
)
def test_rows_that_do_not_go_on_are_dialogues_of_their_own(rows: list[Any]) -> None:
    dialogues = joined(rows, OWN.model_copy(update={"persona": "who"}))
    assert [dialogue.id for dialogue in dialogues] == ["rows:0", "rows:1"]
    assert [[turn.text for turn in dialogue.turns] for dialogue in dialogues] == [
        [*row["history"], row["reply"]] for row in rows
    ]


def test_a_reply_without_a_row_stays_in_the_history() -> None:
    (dialogue,) = joined(talk((["a"], "b"), (["a", "b", "c", "d", "e"], "f")))
    assert said(dialogue) == ["a a", "W b", "a c", "w d", "a e", "W f"]


BAD: list[tuple[Any, str]] = [
    (BadRowError("broken JSON"), "broken JSON"),
    ({"history": ["Hi."], "reply": "Hello."}, "no field 'facts'"),
    ({"Context": "Hi.", "facts": "", "reply": "Hello."}, "no field 'history' (it has ['Context', 'facts', 'reply'])"),
    ({**GOOD, "reply": " "}, "'reply' is empty"),
    ({**GOOD, "reply": None}, "'reply' is empty or not text"),
    ({**GOOD, "reply": "\ud800"}, "half of a surrogate pair"),
    ({**GOOD, "history": [1]}, "'history' is neither text nor a list of texts"),
    ({**GOOD, "history": None}, "'history' is neither text nor a list of texts"),
    ({**GOOD, "history": ["\udfff"]}, "half of a surrogate pair"),
    ({**GOOD, "facts": [1]}, "'facts' is neither text nor a list of texts"),
    ({**GOOD, "facts": {"title": "Tea"}}, "'facts' is neither text nor a list of texts"),
    ({**GOOD, "about": 5}, "'about' is not text"),
    ({**GOOD, "who": ["i like tea."]}, "'who' is not text"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=lambda value: ascii(value)[:40])
def test_a_bad_row_is_put_aside_and_the_conversation_around_it_goes_on(bad: Any, reason: str) -> None:
    fields = OWN.model_copy(update={"topic": "about", "persona": "who"})
    first, last = talk((["a"], "b"), (["a", "b", "c", "d", "e"], "f"))
    aside: list[BadRow] = []
    (dialogue,) = joined([first, bad, last], fields, aside.append)
    assert said(dialogue) == ["a a", "W b", "a c", "w d", "a e", "W f"]
    (row,) = aside
    assert (row.where, row.raw) == ("rows: line 2", repr(bad).encode())
    assert reason in row.reason
    with pytest.raises(InputError) as caught:
        joined([first, bad, last], fields)
    assert str(caught.value).startswith("rows: line 2: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
