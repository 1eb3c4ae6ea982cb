"""The proof of a corpus: the shipped one passes, and each kind of damage is found and named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig
from wikillama.data.check import check_corpus
from wikillama.data.wow import SPLIT_FILES, TOPIC_SPLITS
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
READABLE, ALTERNATE, GIVEN = "can be read", "take turns", "chosen topic and that topic's passage"
GOLD, TWICE, SEEN = "gold sentence", "twice", "seen split is a topic of train"
UNSEEN, APART, LISTS = "no unseen topic is one of train", "serves both", TOPIC_SPLITS


def wow(path: Path) -> DataConfig:
    return DataConfig(name="copy", format="wow", path=str(path))


def checked(path: Path) -> dict[str, tuple[int, list[str]]]:
    """How often each rule held, and where it did not."""
    return {finding.rule: (finding.held, finding.broken) for finding in check_corpus(wow(path))}


def broken(path: Path) -> dict[str, list[str]]:
    """Where the rules that were broken were; a rule goes by some words of it."""
    found = {rule: lines for rule, (_, lines) in checked(path).items() if lines}
    return {next(word for word in WORDS if word in rule): lines for rule, lines in found.items()}


WORDS = (READABLE, ALTERNATE, GIVEN, GOLD, TWICE, SEEN, UNSEEN, APART, LISTS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for file in (*SPLIT_FILES.values(), TOPIC_SPLITS):
        shutil.copy(MINI / file, tmp_path)
    return tmp_path


def change(copy: Path, split: str, damage: Callable[[Any], object]) -> None:
    file = copy / SPLIT_FILES.get(split, TOPIC_SPLITS)
    content = json.loads(file.read_text(encoding="utf-8"))
    damage(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_the_shipped_corpus_passes() -> None:
    found = checked(MINI)
    assert len(found) == len(WORDS)
    assert all(word in rule for word, rule in zip(WORDS, found, strict=True))
    assert [lines for _, lines in found.values()] == [[]] * len(WORDS)
    held = [times for times, _ in found.values()]
    raw = [d for file in SPLIT_FILES.values() for d in json.loads((MINI / file).read_text(encoding="utf-8"))]
    replies = [turn["checked_sentence"] for d in raw for turn in d["dialog"] if "Wizard" in turn["speaker"]]
    golds = sum("no_passages_used" not in reply for reply in replies)
    # topics: 10 of valid seen and 20 of test seen at most, 10 and 10 unseen, 40 of train
    assert held[:5] == [120, 120, 120, golds, 120]
    assert (held[5] > 10, held[6:]) == (True, [20, 10, 60])


def test_real_dialogues_pass(wow_data: Path) -> None:
    found = checked(wow_data / "original_layout_train_5.json")
    assert [lines for _, lines in found.values()] == [[]] * len(WORDS)
    assert [times for times, _ in found.values()][:5] == [5, 5, 5, 23, 5]


def first_gold(dialogues: Any) -> tuple[int, dict[str, str]]:
    """Place and content of the first dialogue's first checked sentence."""
    for place, turn in enumerate(dialogues[0]["dialog"]):
        if turn.get("checked_sentence") and "no_passages_used" not in turn["checked_sentence"]:
            return place, turn["checked_sentence"]
    raise AssertionError("there is none")


def test_a_gold_sentence_that_was_not_on_hand(copy: Path) -> None:
    places = []

    def damage(dialogues: Any) -> None:
        place, checked = first_gold(dialogues)
        places.append(place)
        checked[next(iter(checked))] += " And more."

    change(copy, "test_seen", damage)
    ((rule, (line,)),) = broken(copy).items()
    assert rule == GOLD
    assert line.startswith(f"test_random_split:0, turn {places[0] + 1}: '")


def test_a_gold_sentence_that_only_its_own_turn_retrieved(copy: Path) -> None:
    """What was fetched with the reply as the query was not there before it."""

    def damage(dialogues: Any) -> None:
        place, checked = first_gold(dialogues)
        checked[next(iter(checked))] = "Seen too late."
        dialogues[0]["dialog"][place]["retrieved_passages"].append({"Late": ["Seen too late."]})

    change(copy, "train", damage)
    ((rule, (line,)),) = broken(copy).items()
    assert (rule, line[:8]) == (GOLD, "train:0,")


def test_an_unseen_topic_in_train(copy: Path) -> None:
    moved = json.loads((copy / SPLIT_FILES["test_unseen"]).read_text(encoding="utf-8"))[4]
    change(copy, "train", lambda dialogues: dialogues.append({**moved, "dialog": moved["dialog"][:-2]}))
    assert broken(copy) == {
        UNSEEN: [f"test_unseen: {moved['chosen_topic']}"],
        LISTS: [f"train: {moved['chosen_topic']} is not in list 'train'"],
    }


def test_a_topic_that_valid_and_test_share(copy: Path) -> None:
    shared = json.loads((copy / SPLIT_FILES["valid_unseen"]).read_text(encoding="utf-8"))[0]
    change(copy, "test_unseen", lambda dialogues: dialogues.append({**shared, "dialog": shared["dialog"][:-2]}))
    topic = shared["chosen_topic"]
    assert broken(copy) == {APART: [topic], LISTS: [f"test_unseen: {topic} is not in list 'test'"]}


def test_a_seen_topic_that_train_lacks(copy: Path) -> None:
    seen = json.loads((copy / SPLIT_FILES["valid_seen"]).read_text(encoding="utf-8"))[0]["chosen_topic"]

    def damage(dialogues: Any) -> None:
        dialogues[:] = [dialogue for dialogue in dialogues if dialogue["chosen_topic"] != seen]

    change(copy, "train", damage)
    found = broken(copy)
    assert set(found) == {SEEN}
    assert f"valid_seen: {seen}" in found[SEEN]


@pytest.mark.parametrize("to", ["train", "test_seen"])
def test_a_dialogue_that_stands_there_twice(copy: Path, to: str) -> None:
    twice = json.loads((copy / SPLIT_FILES["train"]).read_text(encoding="utf-8"))[7]
    change(copy, to, lambda dialogues: dialogues.append(twice))
    count = {"train": 70, "test_seen": 20}[to]
    assert broken(copy) == {TWICE: [f"{SPLIT_FILES[to].removesuffix('.json')}:{count}"]}


def test_speakers_that_do_not_take_turns(copy: Path) -> None:
    def damage(dialogues: Any) -> None:
        apprentice = next(turn for turn in dialogues[2]["dialog"] if "Apprentice" in turn["speaker"])
        dialogues[2]["dialog"].append(apprentice)
        dialogues[2]["dialog"].append({**apprentice, "text": "Are you there?"})

    change(copy, "valid_seen", damage)
    assert broken(copy) == {ALTERNATE: ["valid_random_split:2"]}


@pytest.mark.parametrize("key", ["chosen_topic", "chosen_topic_passage"])
def test_a_dialogue_without_topic_or_its_passage(copy: Path, key: str) -> None:
    change(copy, "valid_unseen", lambda dialogues: dialogues[1].pop(key))
    assert broken(copy)[GIVEN] == ["valid_topic_split:1"]


def test_a_dialogue_that_cannot_be_read(copy: Path) -> None:
    change(copy, "valid_seen", lambda dialogues: dialogues[3]["dialog"][1].pop("text"))
    path = copy / SPLIT_FILES["valid_seen"]
    assert broken(copy) == {READABLE: [f"{path}: dialogue 4: turn 2: 'text' or 'speaker' is missing or not text"]}


@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("valid", "valid_unseen"), ("test", "test_unseen")])
def test_a_list_of_topics_that_lacks_one(copy: Path, name: str, split: str) -> None:
    topic = json.loads((copy / TOPIC_SPLITS).read_text(encoding="utf-8"))[name][3]
    change(copy, TOPIC_SPLITS, lambda lists: lists[name].remove(topic))
    assert broken(copy) == {LISTS: [f"{split}: {topic} is not in list '{name}'"]}


@pytest.mark.parametrize("content", ["", "[]", "{broken"])
def test_lists_of_topics_that_cannot_be_read(copy: Path, content: str) -> None:
    (copy / TOPIC_SPLITS).write_text(content)
    assert broken(copy) == {LISTS: [f"{copy / TOPIC_SPLITS}: not a JSON object of lists"]}


@pytest.mark.parametrize("content", ["{}", '{"train": null, "valid": {}, "test": "x"}'])
def test_lists_of_topics_that_are_none(copy: Path, content: str) -> None:
    (copy / TOPIC_SPLITS).write_text(content)
    assert len(broken(copy)[LISTS]) == 60


def test_a_single_file_is_checked_as_a_whole(copy: Path) -> None:
    def damage(dialogues: Any) -> None:
        for dialogue in dialogues:  # those too that would be held out
            dialogue["chosen_topic"] = None

    change(copy, "train", damage)
    found = {rule: lines for rule, (_, lines) in checked(copy / "train.json").items() if lines}
    assert [lines for rule, lines in found.items() if GIVEN in rule] == [[f"train:{place}" for place in range(70)]]


def test_splits_that_are_not_there_are_no_damage_but_train_is(copy: Path) -> None:
    for split in ("valid_seen", "valid_unseen", "test_unseen"):
        (copy / SPLIT_FILES[split]).unlink()
    (copy / TOPIC_SPLITS).unlink()
    assert broken(copy) == {}
    assert checked(copy)["no dialogue stands in the corpus twice"][0] == 90
    (copy / SPLIT_FILES["train"]).unlink()
    with pytest.raises(InputError, match=r"no train\.json there"):
        check_corpus(wow(copy))
