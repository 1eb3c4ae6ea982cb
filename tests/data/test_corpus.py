"""Splits: files that are there, whole conversations held out where they are not, and limits."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig, KnowledgeConfig
from wikillama.data.corpus import load_examples, read_dialogues
from wikillama.data.wow import SPLIT_FILES
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
GOLD = KnowledgeConfig(mode="gold")
Make = Callable[..., DataConfig]


@pytest.fixture
def jsonl(compose: Callable[..., Any], tmp_path: Path) -> Make:
    """A corpus of `n` conversations of three rows each, with these overrides."""

    def make(n: int, *overrides: str, file: str = "all") -> DataConfig:
        path = tmp_path / f"{file}.jsonl"
        with path.open("w") as out:
            for c in range(n):
                said = ["persona", f"q{c}"]
                for k in range(3):
                    row = {"Context": " EOS ".join(said), "Knowledge": "", "Response": f"r{c}.{k}"}
                    out.write(json.dumps(row) + "\n")
                    said += [f"r{c}.{k}", f"q{c}.{k}"]
        return compose("data=jsonl", f"data.train={path}", *overrides, name="prepare").data  # type: ignore[no-any-return]

    return make


def ids(data: DataConfig, split: str) -> list[str]:
    return [dialogue.id for dialogue in read_dialogues(data, split)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("holdout", "held"), [(0.1, 2), (0.25, 5), (0.01, 1)])
def test_whole_conversations_are_held_out(jsonl: Make, holdout: float, held: int) -> None:
    data = jsonl(20, f"data.holdout={holdout}")
    parts = {split: ids(data, split) for split in ("train", "valid_seen", "test_seen")}
    assert {split: len(set(found)) for split, found in parts.items()} == {
        "train": 20 - 2 * held,
        "valid_seen": held,
        "test_seen": held,
    }
    everything = [i for found in parts.values() for i in found]
    assert len(everything) == 60  # all rows, and so no overlap:
    assert sum(len(set(found)) for found in parts.values()) == len(set(everything))
    assert parts == {split: ids(data, split) for split in parts}  # again the same


def test_only_a_split_without_a_file_is_held_out(jsonl: Make, tmp_path: Path) -> None:
    jsonl(5, file="valid")
    data = jsonl(20, f"data.valid={tmp_path / 'valid.jsonl'}")
    assert len(set(ids(data, "valid_seen"))) == 5
    assert all(i.startswith("valid:") for i in ids(data, "valid_seen"))
    assert len(set(ids(data, "train"))) == 18
    assert not set(ids(data, "train")) & set(ids(data, "test_seen"))


def test_nothing_is_held_out_of_train_where_all_splits_have_files(jsonl: Make, tmp_path: Path) -> None:
    jsonl(5, file="other")
    data = jsonl(20, f"data.valid={tmp_path / 'other.jsonl'}", f"data.test={tmp_path / 'other.jsonl'}")
    assert len(set(ids(data, "train"))) == 20


def test_too_few_conversations_to_hold_out(jsonl: Make) -> None:
    assert len(ids(jsonl(3), "train")) == 3
    with pytest.raises(InputError, match="2 conversations are too few to hold out valid_seen, test_seen"):
        ids(jsonl(2), "train")


def test_a_single_file_of_the_original_layout_is_split(compose: Callable[..., Any]) -> None:
    data = compose("data=wow", f"data.path={MINI / 'train.json'}", name="prepare").data
    total = len(json.loads((MINI / "train.json").read_text(encoding="utf-8")))
    train, valid, test = (set(ids(data, split)) for split in ("train", "valid_seen", "test_seen"))
    assert len(train | valid | test) == len(train) + len(valid) + len(test) == total
    assert len(valid) == len(test) == round(0.1 * total)


@pytest.mark.parametrize("split", ["valid_unseen", "test_unseen"])
def test_unseen_topics_cannot_be_held_out(compose: Callable[..., Any], jsonl: Make, split: str) -> None:
    one_file = compose("data=wow", f"data.path={MINI / 'train.json'}", name="prepare").data
    for data in (one_file, jsonl(20)):
        with pytest.raises(InputError, match="use suite=seen"):
            ids(data, split)


def test_missing_split_file_is_named(compose: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copy(MINI / "train.json", tmp_path)
    data = compose("data=wow", f"data.path={tmp_path}", name="prepare").data
    for split in ("valid_seen", "test_seen", "valid_unseen", "test_unseen"):
        with pytest.raises(InputError, match=f"no {SPLIT_FILES[split]} there"):
            load_examples(data, GOLD, split)  # type: ignore[arg-type]


def test_split_without_wizard_turns_is_refused(compose: Callable[..., Any], tmp_path: Path) -> None:
    for file in SPLIT_FILES.values():
        (tmp_path / file).write_text('[{"dialog": [{"speaker": "0_Apprentice", "text": "Hello?"}]}]')
    data = compose("data=wow", f"data.path={tmp_path}", name="prepare").data
    with pytest.raises(InputError, match="split train has no Wizard turn"):
        load_examples(data, GOLD, "train")


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_limit_takes_turns_evenly(compose: Callable[..., Any], limit: int) -> None:
    whole = load_examples(compose("data=wow_mini", name="prepare").data, GOLD, "train")
    limited = compose("data=wow_mini", f"data.limit_train={limit}", name="prepare").data
    taken = [whole.index(example) for example in load_examples(limited, GOLD, "train")]
    assert len(taken) == limit
    gaps = {b - a for a, b in pairwise([*taken, len(whole)])}
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) == len(whole) // limit


def test_a_limit_over_the_size_takes_all(compose: Callable[..., Any]) -> None:
    whole = load_examples(compose("data=wow_mini", name="prepare").data, GOLD, "valid_seen")
    data = compose("data=wow_mini", "data.limit_valid=100000", name="prepare").data
    assert load_examples(data, GOLD, "valid_seen") == whole
