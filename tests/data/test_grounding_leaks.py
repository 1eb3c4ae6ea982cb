"""No prompt knows its reply: every dialogue at hand is poisoned from the reply on, and every prompt stays the same.

What stands in the reply's own turn and in all later ones is replaced in the raw JSON by strings that occur nowhere
else, and the dialogue is read and grounded again.
"""

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import KnowledgeConfig, PromptConfig, RowFields
from wikillama.data.dialogue import Dialogue, Turn, refuse
from wikillama.data.grounding import ground
from wikillama.data.jsonl import read_jsonl
from wikillama.data.prompt import Message, messages, render
from wikillama.data.rows import dialogues_of
from wikillama.data.wow import SPLIT_FILES, read_wow

MINI = ROOT / "data" / "wow_mini"
PROMPTS = [
    PromptConfig(template="llama2_chat", layout=layout, system="Be brief.", topic=True, persona=True)
    for layout in ("chat", "paper")
]
SHOW_GOLD, HIDE_GOLD = ("gold", "mixed"), ("retrieved", "none", "shuffled")
POISON = "zqxj"  # in no dialogue
_numbers = count()


def poison() -> str:
    return f"{POISON}{next(_numbers)}!"


def aimed(dialogue: Dialogue, place: int) -> Dialogue:
    """The dialogue with the turn at `place` as its only target."""
    turns = enumerate(dialogue.turns)
    aim = tuple(t if t.target == (number == place) else replace(t, target=number == place) for number, t in turns)
    return replace(dialogue, turns=aim)


def prompts(dialogue: Dialogue, mode: Any, donor: Dialogue) -> list[list[Message]]:
    """The messages of the target, in each layout."""
    example = next(ground([dialogue, donor], KnowledgeConfig(mode=mode, dropout=0.1)))
    assert example.dialogue_id == dialogue.id
    return [messages(example, prompt) for prompt in PROMPTS]


def compare(before: Dialogue, after: Dialogue, place: int, modes: Iterable[str], donor: Dialogue) -> None:
    """Prompts before and after are the same; the reply alone differs, and stands in the last message alone."""
    reply = after.turns[place].text
    assert POISON in reply
    before, after = aimed(before, place), aimed(after, place)
    for mode in modes:
        for old, new in zip(prompts(before, mode, donor), prompts(after, mode, donor), strict=True):
            assert new[:-1] == old[:-1]
            assert new[-1] == Message("assistant", reply)
            assert old[-1] == Message("assistant", before.turns[place].text)
            assert not any(POISON in message.content for message in new[:-1])


def gold_shows(dialogue: Dialogue, place: int, donor: Dialogue) -> None:
    """The gold sentence is in the prompt in the mode `gold`, and there or dropped with all else in the mode `mixed`."""
    gold, dialogue = dialogue.turns[place].knowledge or "", aimed(dialogue, place)
    chat, paper = ("\n".join(m.content for m in found[:-1]) for found in prompts(dialogue, "gold", donor))
    assert gold in chat
    assert json.dumps(gold, ensure_ascii=False)[1:-1] in paper
    chat, paper = ("\n".join(m.content for m in found[:-1]) for found in prompts(dialogue, "mixed", donor))
    assert (gold in chat) == ("Knowledge:" in chat) == ("Passages: {" in paper)


def poisoned_turn(turn: Any, topic: str, checked: Any) -> Any:
    """All fields replaced but the speaker; with traps: the topic's title, and the gold sentence under a false one."""
    gold = list((turn.get("checked_sentence") or {}).values())
    return {
        "speaker": turn["speaker"],
        "text": poison(),
        "retrieved_topics": [poison(), topic],
        "retrieved_passages": [{topic: [poison(), poison()]}, {poison(): [poison(), *gold]}],
        "checked_passage": {poison(): poison()},
        "checked_sentence": checked,
        "candidate_responses": [poison(), poison()],
    }


def poisoned_dialogue(raw: Any, place: int, gold: bool) -> Any:
    """From the turn at `place` on all is replaced, and its own gold sentence only if `gold`: used none stays none."""
    current = raw["dialog"][place].get("checked_sentence")
    if gold and current and "no_passages_used" not in current:
        current = {poison(): poison()}
    turns = [*raw["dialog"][:place], poisoned_turn(raw["dialog"][place], raw["chosen_topic"], current)]
    for turn in raw["dialog"][place + 1 :]:
        turns.append(poisoned_turn(turn, raw["chosen_topic"], {poison(): poison()}))
    return {**raw, "dialog": turns, "wizard_eval": poison()}


def read(raw: Any) -> Dialogue:
    (dialogue,) = read_wow(io.BytesIO(json.dumps([raw]).encode()), "raw", "raw.json")
    return dialogue


def donor_for(dialogue: Dialogue, others: Iterable[Dialogue]) -> Dialogue:
    """The next dialogue that can give `shuffled` knowledge: of another topic, and without a common sentence."""
    own = {turn.knowledge for turn in dialogue.turns} - {None}
    return next(
        replace(other, id="donor")
        for other in others
        if (dialogue.topic is None or other.topic != dialogue.topic)
        and any(turn.knowledge for turn in other.turns)
        and own.isdisjoint(turn.knowledge for turn in other.turns)
    )


def replies(dialogue: Dialogue) -> Iterator[tuple[int, Turn]]:
    return ((place, turn) for place, turn in enumerate(dialogue.turns) if turn.target)


def check_original_layout(path: Path) -> None:
    raws = json.loads(path.read_text(encoding="utf-8"))
    dialogues = [read(raw) for raw in raws]
    checked = 0
    for number, (raw, dialogue) in enumerate(zip(raws, dialogues, strict=True)):
        donor = donor_for(dialogue, chain(dialogues[number:], dialogues))
        for place, turn in replies(dialogue):
            for modes, gold in ((SHOW_GOLD, False), (HIDE_GOLD, True)):
                again = read(poisoned_dialogue(raw, place, gold))
                compare(dialogue, again, place, modes, donor)
            if turn.knowledge:
                gold_shows(dialogue, place, donor)
            checked += 1
    assert checked == sum("Wizard" in turn["speaker"] for raw in raws for turn in raw["dialog"]) > 0


@pytest.mark.parametrize("file", SPLIT_FILES.values())
def test_shipped_dialogues(file: str) -> None:
    check_original_layout(MINI / file)


def test_real_dialogues_in_the_original_layout(wow_data: Path) -> None:
    check_original_layout(wow_data / "original_layout_train_5.json")


def fields(persona_first: bool) -> RowFields:
    return RowFields(
        context="Context", knowledge="Knowledge", response="Response", separator=" EOS ", persona_first=persona_first
    )


def joined(rows: Iterable[Any], persona_first: bool) -> list[Dialogue]:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return list(dialogues_of(read_jsonl(io.BytesIO(content), "rows"), fields(persona_first), "rows", refuse))


def poisoned_rows(rows: list[Any], number: int, gold: bool) -> list[Any]:
    """From the reply of a row on all is replaced, in later rows' contexts too."""
    row = {**rows[number], "Response": poison()}
    if gold and row["Knowledge"] not in ("", "no_passages_used"):
        row["Knowledge"] = poison()
    said = [*([row["Context"]] if row["Context"] else []), row["Response"]]
    found = [*rows[:number], row]
    for later in rows[number + 1 :]:
        lacking = later["Context"].count(" EOS ") - " EOS ".join(said).count(" EOS ")
        said += [poison() for _ in range(lacking)]
        found.append({"Context": " EOS ".join(said), "Knowledge": poison(), "Response": poison()})
        said.append(found[-1]["Response"])
    return found


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_real_rows(wow_data: Path, split: str) -> None:
    """In rows nothing but replies and gold sentences is there to leak; the modes that need passages are refused."""
    rows = [
        json.loads(line) for line in (wow_data / f"godel_wow_{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    persona_first = split != "train"
    dialogues = joined(rows, persona_first)
    start = 0
    for position, dialogue in enumerate(dialogues):
        donor = donor_for(dialogue, chain(dialogues[position:], dialogues))
        places = [place for place, _ in replies(dialogue)]
        own = rows[start : start + len(places)]
        start += len(places)
        for number, place in enumerate(places):
            for modes, gold in ((("gold",), False), (("none", "shuffled"), True)):
                (again,) = joined(poisoned_rows(own, number, gold), persona_first)
                assert len(again.turns) == len(dialogue.turns)
                compare(replace(dialogue, id="rows:0"), again, place, modes, donor)
    assert start == len(rows) == {"train": 235, "valid": 4444, "test": 4356}[split]


def named_turn(speaker: str, number: int) -> dict[str, Any]:
    """A turn each text of which names the turn and the field that it stands in."""
    return {
        "speaker": speaker,
        "text": f"text{number}",
        "retrieved_topics": [f"topic{number}"],
        "retrieved_passages": [{f"title{number}": [f"found{number}"]}],
        "checked_sentence": {f"key{number}": f"gold{number}", f"more_key{number}": f"more{number}"},
        "checked_passage": {f"passage_key{number}": f"passage{number}"},
        "candidate_responses": [f"candidate{number}"],
    }


@pytest.mark.parametrize("mode", ["gold", "none", "retrieved"])
@pytest.mark.parametrize("layout", ["chat", "paper"])
@pytest.mark.parametrize("template", ["llama2_chat", "chatml"])
@pytest.mark.parametrize("wizard_opens", [True, False])
def test_all_that_stands_in_front_of_a_reply(mode: Any, layout: Any, template: Any, wizard_opens: bool) -> None:
    seats = ["0_Wizard", "1_Apprentice"] if wizard_opens else ["0_Apprentice", "1_Wizard"]
    turns = [named_turn(seats[number % 2], number) for number in range(8)]
    dialogue = read({"chosen_topic": "Tea", "chosen_topic_passage": ["article"], "persona": "someone", "dialog": turns})
    prompt = PromptConfig(template=template, layout=layout, system="Be brief.", topic=False, persona=False)
    everything = {text for turn in turns for text in strings(turn)} | {"article", "Tea", "someone"}
    for example in ground([dialogue], KnowledgeConfig(mode=mode)):
        now = int(example.response.removeprefix("text"))
        pieces = render(messages(example, prompt), prompt.template)
        shown = "".join(piece.text[: piece.reply_from] for piece in pieces)  # a slice to None is all of it
        found = {
            "gold": {f"gold{now}"} | ({"Tea"} if layout == "paper" else set()),  # it has no other title
            "none": set(),
            "retrieved": {"article", *(f"found{number}" for number in range(max(0, now - 2), now))},
        }[mode]
        if mode == "retrieved" and layout == "paper":
            found |= {"Tea", *(f"title{number}" for number in range(max(0, now - 2), now))}
        assert {text for text in everything if text in shown} == {*(f"text{number}" for number in range(now)), *found}


def strings(value: Any) -> list[str]:
    """All strings in a nest of lists and dictionaries, but the names of the layout's own fields."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in ([key] * key[-1].isdigit() + strings(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value]
