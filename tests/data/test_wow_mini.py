"""The corpus that the repository ships: what its sources build, and what a grounded corpus must be."""

import importlib.util
import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from wikillama.config.paths import ROOT
from wikillama.data.wow import SPLIT_FILES

MINI = ROOT / "data" / "wow_mini"
SOURCES = sorted((MINI / "source").glob("*.yaml"))
NO_KNOWLEDGE = "no_passages_used"


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Any]]:
    return {split: json.loads((MINI / file).read_text(encoding="utf-8")) for split, file in SPLIT_FILES.items()}


@pytest.fixture(scope="module")
def dialogues(splits: dict[str, list[Any]]) -> list[Any]:
    return list(chain.from_iterable(splits.values()))


@pytest.fixture(scope="module")
def build() -> Any:
    spec = importlib.util.spec_from_file_location("wow_mini_build", MINI / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_what_the_sources_build(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["build.py", *map(str, SOURCES)])
    assert build.main() == 0
    built = sorted(path.name for path in tmp_path.iterdir())
    assert built == sorted([*SPLIT_FILES.values(), "topic_splits.json"])
    for name in built:
        assert (tmp_path / name).read_bytes() == (MINI / name).read_bytes(), f"{name}: run build.py again"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("know: [", "know: [No such article, 0]  # [", "no sentence 0 in article 'No such article'"),
        ("split: train", "split: dev", "unknown split 'dev'"),
        ("- topic: ", "- topic: Never written about ", "no article 'Never written about"),
    ],
)
def test_a_wrong_source_is_named(
    build: Any, tmp_path: Path, capsys: Any, monkeypatch: Any, old: str, new: str, complaint: str
) -> None:
    text = SOURCES[0].read_text(encoding="utf-8")
    assert old in text
    (tmp_path / SOURCES[0].name).write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["build.py", "--check", str(tmp_path / SOURCES[0].name)])
    assert build.main() == 2
    assert complaint in capsys.readouterr().err


def test_size(dialogues: list[Any]) -> None:
    assert len(dialogues) >= 120
    assert sum(len(dialogue["dialog"]) for dialogue in dialogues) >= 1000
    categories = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SOURCES]
    assert len({category["category"] for category in categories}) == 10
    topics = {dialogue["chosen_topic"] for dialogue in dialogues}
    assert all(topics & set(category["articles"]) for category in categories)


def test_no_dialogue_stands_in_it_twice(dialogues: list[Any]) -> None:
    openings = [tuple(turn["text"] for turn in dialogue["dialog"]) for dialogue in dialogues]
    assert len(set(openings)) == len(openings)


def test_topics_of_the_splits(splits: dict[str, list[Any]]) -> None:
    topics = {split: {dialogue["chosen_topic"] for dialogue in found} for split, found in splits.items()}
    assert topics["valid_seen"] <= topics["train"]
    assert topics["test_seen"] <= topics["train"]
    assert not topics["valid_unseen"] & topics["train"]
    assert not topics["test_unseen"] & topics["train"]
    assert not topics["valid_unseen"] & topics["test_unseen"]
    lists = json.loads((MINI / "topic_splits.json").read_text(encoding="utf-8"))
    assert lists == {
        "train": sorted(topics["train"]),
        "valid": sorted(topics["valid_unseen"]),
        "test": sorted(topics["test_unseen"]),
    }


def test_gold_sentences_stand_in_the_passage_they_name(dialogues: list[Any]) -> None:
    known = without = 0
    for dialogue in dialogues:
        passages = {dialogue["chosen_topic"]: dialogue["chosen_topic_passage"]}  # on the Wizard's screen so far
        for turn in dialogue["dialog"]:
            if turn["speaker"].endswith("Wizard"):
                (sentence,), (title,) = turn["checked_sentence"].values(), turn["checked_passage"].values()
                if sentence == NO_KNOWLEDGE:
                    without += 1
                    assert title == NO_KNOWLEDGE
                else:
                    known += 1
                    assert sentence in passages[title]
            else:
                assert "checked_sentence" not in turn
            for passage in turn["retrieved_passages"]:
                passages |= passage
    assert known > 400
    assert 0.02 < without / (known + without) < 0.2  # the original has about 0.06


def test_turns_have_passages_and_alternate(dialogues: list[Any]) -> None:
    for dialogue in dialogues:
        assert dialogue["persona"].strip()
        speakers = [turn["speaker"] for turn in dialogue["dialog"]]
        first, second = ("0_Wizard", "1_Apprentice") if "Wizard" in speakers[0] else ("0_Apprentice", "1_Wizard")
        assert speakers == [(first, second)[place % 2] for place in range(len(speakers))]
        for turn in dialogue["dialog"]:
            titles = [title for passage in turn["retrieved_passages"] for title in passage]
            assert titles == turn["retrieved_topics"]
            assert len(set(titles)) == 3
            assert all(sentences for passage in turn["retrieved_passages"] for sentences in passage.values())
