"""Readings of real dialogues against ParlAI's own records of what its teachers give for them."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from wikillama.config.schema import DataConfig, KnowledgeConfig
from wikillama.data.corpus import read_dialogues
from wikillama.data.dialogue import Dialogue, Turn
from wikillama.data.grounding import candidates, ground
from wikillama.data.wow import OFFICIAL_COUNTS, SPLIT_FILES

Place = tuple[Dialogue, int, Turn]


def acts(wow_data: Path, teacher: str, split: str = "train") -> list[dict[str, Any]]:
    return [act for (act,) in recorded(wow_data, teacher, split)["acts"]]


def recorded(wow_data: Path, teacher: str, split: str) -> Any:
    return yaml.safe_load((wow_data / f"parlai_{teacher}_{split}.yml").read_text(encoding="utf-8"))


@pytest.fixture
def train(compose: Callable[..., Any], wow_data: Path, tmp_path: Path) -> DataConfig:
    """The first five dialogues of the official train split, as a corpus counted like ParlAI's."""
    for file in SPLIT_FILES.values():
        (tmp_path / file).symlink_to(wow_data / "original_layout_train_5.json")
    return compose("data=wow", f"data.path={tmp_path}", "data.turns=parlai", name="prepare").data  # type: ignore[no-any-return]


@pytest.fixture
def wizard_turns(train: DataConfig) -> list[Place]:
    return [(d, n, turn) for d in read_dialogues(train, "train") for n, turn in enumerate(d.turns) if turn.target]


def test_knowledge_on_hand_is_that_of_the_default_teacher(wow_data: Path, wizard_turns: list[Place]) -> None:
    """Its first five examples run into the second dialogue: of the first, it leaves out the last Wizard turn."""
    examples = acts(wow_data, "wizard_dialog_knowledge")
    assert len(examples) == 5
    for (dialogue, place, turn), act in zip(wizard_turns, examples, strict=False):
        on_hand = candidates(dialogue, place)
        assert [f"{sentence.title} {sentence.text}" for sentence in on_hand] == act["knowledge"].splitlines()
        assert [turn.text] == [label.strip() for label in act["labels"]]
        assert turn.knowledge == act["checked_sentence"]
        assert dialogue.topic == act["chosen_topic"]
        said = [dialogue.topic or ""] if place < 2 else []  # its text opens with the topic
        said += [dialogue.turns[place - 1].text] if place else []
        assert "\n".join(said) == act["text"].strip()
        rest = [p for d, p, _ in wizard_turns if d.id == dialogue.id and p > place]
        assert act["episode_done"] is (not rest)


def test_gold_sentences_have_the_title_of_the_checked_passage(train: DataConfig, wow_data: Path) -> None:
    grounded = ground(read_dialogues(train, "train"), KnowledgeConfig(mode="gold"))
    titled = [sentence for example in islice(grounded, 5) for sentence in example.knowledge]
    assert titled == [(act["title"], act["checked_sentence"]) for act in acts(wow_data, "wizard_dialog_knowledge")]


def test_fields_are_those_of_the_raw_teacher(train: DataConfig, wow_data: Path) -> None:
    dialogue = next(read_dialogues(train, "train"))
    records = acts(wow_data, "raw_teacher")
    assert len(records) == 5
    for turn, act in zip(dialogue.turns, records, strict=False):
        assert turn.text == act["text"].strip()
        assert turn.speaker == ("apprentice" if act["checked_sentence"] is None else "wizard")
        assert turn.knowledge == next(iter((act["checked_sentence"] or {"": None}).values()))
        assert [{p.title: list(p.sentences)} for p in turn.passages] == act["retrieved_passages"]
        assert [p.title for p in turn.passages] == act["retrieved_topics"]
        assert dialogue.topic == act["chosen_topic"]
        assert dialogue.topic_passage == (act["chosen_topic"], tuple(act["chosen_topic_passage"]))


@pytest.mark.parametrize(
    ("split", "name"), [("train", "train"), ("valid", "valid_seen"), ("test", "test_seen")], ids=lambda value: value
)
def test_official_counts_are_parlais(wow_data: Path, split: str, name: str) -> None:
    record = recorded(wow_data, "raw_teacher", split)
    assert OFFICIAL_COUNTS[name] == (record["num_episodes"], record["num_examples"])


@pytest.mark.parametrize(("split", "name"), [("valid", "valid_seen"), ("test", "test_seen")])
def test_turns_counted_like_parlais_are_the_same_turns(
    compose: Callable[..., Any], wow_data: Path, split: str, name: Any
) -> None:
    """Real rows of a whole split: as many dialogues and examples as ParlAI counts, and the same first five."""
    rows = wow_data / f"godel_wow_{split}.jsonl"
    files = [f"data.{part}={rows}" for part in ("train", "valid", "test")]
    data = compose("data=jsonl", *files, "data.turns=parlai", name="prepare").data
    dialogues = list(read_dialogues(data, name))
    replies = [(d, n, turn) for d in dialogues for n, turn in enumerate(d.turns) if turn.target]
    record = recorded(wow_data, "wizard_dialog_knowledge", split)
    assert (len(dialogues), len(replies)) == (record["num_episodes"], record["num_examples"])
    for (dialogue, place, turn), (act,) in zip(replies, record["acts"], strict=False):
        assert [turn.text] == [label.strip() for label in act["eval_labels"]]
        assert (turn.knowledge or "no_passages_used") == act["checked_sentence"]
        asked = [dialogue.turns[place - 1].text] if place else []
        assert act["text"].strip().split("\n")[-1:] == (asked or [act["chosen_topic"]])
