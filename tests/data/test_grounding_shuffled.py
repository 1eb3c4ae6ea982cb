"""The control: each turn that used knowledge sees what another dialogue used."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig, KnowledgeConfig
from wikillama.data.corpus import load_examples, read_dialogues
from wikillama.data.dialogue import Dialogue, Example, Turn
from wikillama.data.grounding import ground

GOLD, SHUFFLED = KnowledgeConfig(mode="gold"), KnowledgeConfig(mode="shuffled")
WOW_MINI = DataConfig(name="wow_mini", format="wow", path=str(ROOT / "data" / "wow_mini"))


def talk(name: str, topic: str | None, *facts: str | None) -> Dialogue:
    """A dialogue with a reply for each of its facts."""
    turns = [
        turn
        for number, fact in enumerate(facts)
        for turn in (Turn("apprentice", f"{number}?"), Turn("wizard", f"{number}.", fact, target=True))
    ]
    return Dialogue(name, tuple(turns), topic)


def shown(*dialogues: Dialogue) -> dict[str, list[str | None]]:
    """What the replies of each dialogue see."""
    found: dict[str, list[str | None]] = {dialogue.id: [] for dialogue in dialogues}
    for example in ground(iter(dialogues), SHUFFLED):
        assert len(example.knowledge) <= 1
        found[example.dialogue_id].append(example.knowledge[0].text if example.knowledge else None)
    return found


def test_a_turn_sees_what_the_next_dialogue_of_another_topic_used() -> None:
    tea, more_tea = talk("0", "Tea", "tea 0", None, "tea 1", "tea 2"), talk("1", "Tea", "tea 3")
    cars, jazz = talk("2", "Cars", None, "car 0", "car 1"), talk("3", "Jazz", "jazz 0")
    assert shown(tea, more_tea, cars, jazz) == {
        "0": ["car 0", None, "car 0", "car 1"],  # by turns, and none where none was used
        "1": ["car 0"],
        "2": [None, "jazz 0", "jazz 0"],
        "3": ["tea 0"],  # the last one takes from the first
    }


def test_dialogues_without_knowledge_give_none_and_hold_nobody_up() -> None:
    assert shown(talk("0", "Tea", "tea"), talk("1", "Cars", None), talk("2", "Jazz", "jazz")) == {
        "0": ["jazz"],
        "1": [None],
        "2": ["tea"],
    }
    assert shown(talk("0", "Tea", None), talk("1", "Cars", None, None)) == {"0": [None], "1": [None, None]}


def test_only_targets_give_and_take() -> None:
    tea, cars = talk("0", "Tea", "tea"), talk("1", "Cars", "left out", "car")
    turns = tuple(replace(turn, target=turn.target and turn.knowledge != "left out") for turn in cars.turns)
    assert shown(tea, replace(cars, turns=turns)) == {"0": ["car"], "1": ["tea"]}


@pytest.mark.parametrize("topic", ["Tea", None])
def test_where_all_have_one_topic_or_none_another_dialogue_will_do(topic: str | None) -> None:
    found = shown(*(talk(str(n), topic, f"fact {n}.0", f"fact {n}.1") for n in range(5)))
    for name, facts in found.items():
        assert all(fact is not None and not fact.startswith(f"fact {name}") for fact in facts)


@pytest.mark.parametrize("position", range(5))
def test_another_topic_is_found_wherever_it_stands(position: int) -> None:
    topics = ["Tea"] * 5
    topics[position] = "Cars"
    found = shown(*(talk(str(n), topic, f"{topic} {n}") for n, topic in enumerate(topics)))
    for topic, facts in zip(topics, found.values(), strict=True):
        assert [(fact or "").split()[0] for fact in facts] == ["Tea" if topic == "Cars" else "Cars"]


def test_a_corpus_of_one_dialogue_has_nothing_to_show() -> None:
    assert shown(talk("0", "Tea", "tea 0", "tea 1")) == {"0": [None, None]}
    assert shown() == {}


@pytest.mark.parametrize("topic", ["Tea", None])
def test_a_sentence_that_both_dialogues_used_is_not_shown(topic: str | None) -> None:
    """Dialogues of other topics, or of unknown ones, may have used the very same sentence."""
    common, other = talk("0", topic, "common", "mine"), talk("1", None, "common", "theirs")
    assert shown(common, other) == {"0": ["theirs", "theirs"], "1": ["mine", "mine"]}
    assert shown(talk("0", topic, "common"), talk("1", None, "common"), talk("2", "Cars", "car"))["0"] == ["car"]
    assert shown(talk("0", topic, "common"), talk("1", None, "common")) == {"0": [None], "1": [None]}


def check(gold: list[Example], shuffled: list[Example], topics_known: bool) -> None:
    """Same turns in the same order; where one used knowledge, it sees another dialogue's, of another topic."""
    topics: dict[str, set[str | None]] = {}
    own: dict[str, set[str | None]] = {}
    for example in gold:
        topics.setdefault(example.gold_knowledge or "", set()).add(example.topic)
        own.setdefault(example.dialogue_id, set()).add(example.gold_knowledge)
    for example, other in zip(gold, shuffled, strict=True):
        assert replace(other, knowledge=()) == replace(example, knowledge=())
        assert len(other.knowledge) == len(example.knowledge) == (example.gold_knowledge is not None)
        for sentence in other.knowledge:
            assert sentence.text not in own[example.dialogue_id]
            assert sentence.title is None
            assert not topics_known or topics[sentence.text] - {example.topic}


@pytest.mark.parametrize("split", ["train", "valid_seen", "valid_unseen", "test_seen", "test_unseen"])
def test_shipped_dialogues(split: Any) -> None:
    check(load_examples(WOW_MINI, GOLD, split), load_examples(WOW_MINI, SHUFFLED, split), topics_known=True)


@pytest.mark.parametrize("file", ["godel_wow_valid.jsonl", "godel_wow_test.jsonl"])
def test_real_dialogues(compose: Any, wow_data: Path, file: str) -> None:
    rows = [f"data.{split}={wow_data / file}" for split in ("train", "valid", "test")]
    dialogues = list(read_dialogues(compose("data=jsonl", *rows, name="prepare").data, "test_seen"))
    check(list(ground(dialogues, GOLD)), list(ground(dialogues, SHUFFLED)), topics_known=False)


@pytest.fixture
def frozen() -> Iterator[None]:
    """What is there already, such as libraries, the collector passes over: gc.get_objects() names what is new."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("mode", ["gold", "shuffled", "mixed", "retrieved"])
@pytest.mark.usefixtures("frozen")
def test_few_dialogues_are_held(mode: Any) -> None:
    """Of 3,000 dialogues that a generator makes, in runs of three that share a topic."""
    made = 0

    def dialogues() -> Iterator[Dialogue]:
        nonlocal made
        for made in range(1, 3001):
            yield talk(f"{mode}:{made}", f"topic {made // 3}", f"fact {made}")

    ahead = held = 0
    for number, example in enumerate(ground(dialogues(), KnowledgeConfig(mode=mode)), start=1):
        assert example.dialogue_id == f"{mode}:{number}"
        ahead = max(ahead, made - number)
        if number % 500 == 0:
            alive = (o for o in gc.get_objects() if isinstance(o, Dialogue) and o.id.startswith(f"{mode}:"))
            held = max(held, sum(1 for _ in alive))
    assert made == number == 3000
    assert ahead <= (3 if mode == "shuffled" else 0)
    assert 1 <= held <= (8 if mode == "shuffled" else 2)
