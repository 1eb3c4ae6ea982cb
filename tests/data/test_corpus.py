"""Splits: what they are read from, what is missing, how turns are counted, and limits."""

import gzip
import json
import logging
import shutil
import tarfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig, KnowledgeConfig
from wikillama.data.corpus import Source, Split, find, load_examples, read_dialogues, read_source
from wikillama.data.dialogue import Dialogue
from wikillama.data.wow import SPLIT_FILES
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
GOLD = KnowledgeConfig(mode="gold")
SPLITS: tuple[Split, ...] = get_args(Split)


def wow(path: Path, **given: Any) -> DataConfig:
    return DataConfig(name="wow", format="wow", path=str(path), **given)


def everything(data: DataConfig) -> dict[Split, list[Dialogue]]:
    return {split: list(read_dialogues(data, split)) for split in SPLITS}


@pytest.fixture(scope="module")
def packings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """wow_mini as folders with and without .gz, and as archives."""
    folder = tmp_path_factory.mktemp("packings")
    (folder / "zipped").mkdir()
    with tarfile.open(folder / "a.tgz", "w:gz") as tgz, tarfile.open(folder / "a.tar", "w") as tar:
        for file in SPLIT_FILES.values():
            (folder / "zipped" / f"{file}.gz").write_bytes(gzip.compress((MINI / file).read_bytes(), 1))
            for archive in (tgz, tar):
                archive.add(MINI / file, f"inside/{file}")
    return {"folder": MINI, "gz": folder / "zipped", "tgz": folder / "a.tgz", "tar": folder / "a.tar"}


@pytest.mark.parametrize("packing", ["gz", "tgz", "tar"])
def test_packing_makes_no_difference(packings: dict[str, Path], packing: str) -> None:
    found = everything(wow(packings[packing]))
    assert found == everything(wow(MINI))
    assert {split: len(dialogues) for split, dialogues in found.items()} == {
        "train": 70,
        "valid_seen": 10,
        "valid_unseen": 10,
        "test_seen": 20,
        "test_unseen": 10,
    }
    assert found["test_unseen"][3].id == "test_topic_split:3"


@pytest.mark.parametrize("packing", ["folder", "gz", "tgz", "tar"])
def test_watch_hears_how_far_the_file_is_read(packings: dict[str, Path], packing: str) -> None:
    heard: list[tuple[int, int]] = []
    for _ in read_dialogues(wow(packings[packing]), "train", watch=lambda done, size: heard.append((done, size))):
        pass
    assert len(heard) == 70
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert 0 < heard[0][0] <= heard[0][1]
    assert {size for _, size in heard} == {heard[-1][0]}  # all of it, in the end


@pytest.mark.parametrize("layout", ["wow", "jsonl"])
@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:200] + b"x" * 99 + raw[299:]])
def test_a_damaged_gz_is_named_in_one_line(
    packings: dict[str, Path], tmp_path: Path, layout: Any, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "train.json.gz"
    path.write_bytes(damage((packings["gz"] / path.name).read_bytes()))
    data = DataConfig(name="damaged", format=layout)
    with pytest.raises(InputError, match="broken or truncated gzip") as caught:
        list(read_source(data, Source(path, "train"), lambda row: None))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_source_says_where_it_is(packings: dict[str, Path]) -> None:
    assert str(find(wow(packings["tgz"]), "valid_seen")) == f"{packings['tgz']}: valid_random_split.json"
    assert str(find(wow(MINI), "train")) == str(MINI / "train.json")
    assert str(Source(None, "validation")) == "validation"


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_missing_is_named(tmp_path: Path, split: Split) -> None:
    other = "train.json" if split != "train" else "valid_topic_split.json"
    shutil.copy(MINI / other, tmp_path)
    with pytest.raises(InputError) as caught:
        load_examples(wow(tmp_path), GOLD, split)
    assert str(caught.value) == f"data.path={tmp_path}: no {SPLIT_FILES[split]} there, which split {split} needs"
    archive = tmp_path / "wizard.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / other, other)
    with pytest.raises(InputError) as caught:
        load_examples(wow(archive), GOLD, split)
    assert str(caught.value) == f"{archive}: holds no {SPLIT_FILES[split]}, only '{other}'"


def test_a_split_without_wizard_turns_is_refused(tmp_path: Path) -> None:
    for file in SPLIT_FILES.values():
        (tmp_path / file).write_text('[{"dialog": [{"speaker": "0_Apprentice", "text": "Hello?"}]}]')
    with pytest.raises(InputError, match="split train has no Wizard turn"):
        load_examples(wow(tmp_path), GOLD, "train")


def test_turns_are_counted_like_parlai_where_that_is_asked_for() -> None:
    """It leaves out the last reply of dialogues that the Wizard opens, from the targets and from nothing else."""
    opened = 0
    for whole, counted in zip(
        read_dialogues(wow(MINI), "train"), read_dialogues(wow(MINI, turns="parlai"), "train"), strict=True
    ):
        replies = [place for place, turn in enumerate(whole.turns) if turn.speaker == "wizard"]
        assert [place for place, turn in enumerate(whole.turns) if turn.target] == replies
        opened += replies[0] == 0
        left = replies[:-1] if replies[0] == 0 else replies
        assert [place for place, turn in enumerate(counted.turns) if turn.target] == left
        assert [turn.text for turn in counted.turns] == [turn.text for turn in whole.turns]
        assert counted.id == whole.id
    assert 0 < opened < 70


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_bad_rows_are_left_out_aloud_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, on_bad_row: Any
) -> None:
    whole = json.loads((MINI / "train.json").read_text(encoding="utf-8"))
    for file in SPLIT_FILES.values():
        (tmp_path / file).write_text(json.dumps([whole[0], {**whole[1], "dialog": []}, whole[2]]))
    data = wow(tmp_path, on_bad_row=on_bad_row)
    reason = f"{tmp_path / 'train.json'}: dialogue 2: the dialogue has no turns"
    if on_bad_row == "error":
        with pytest.raises(InputError, match=r"data\.on_bad_row=skip") as caught:
            load_examples(data, GOLD, "train")
        assert str(caught.value).startswith(reason)
        return
    with caplog.at_level(logging.WARNING):
        examples = load_examples(data, GOLD, "train")
    assert {example.dialogue_id for example in examples} == {"train:0", "train:2"}
    assert [record.getMessage() for record in caplog.records] == [
        f"train: 1 bad rows left out, such as {reason}; remove it"
    ]


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_limit_takes_turns_evenly(limit: int) -> None:
    whole = load_examples(wow(MINI), GOLD, "train")
    taken = [whole.index(example) for example in load_examples(wow(MINI, limit_train=limit), GOLD, "train")]
    assert len(taken) == limit
    gaps = {b - a for a, b in pairwise([*taken, len(whole)])}
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) == len(whole) // limit


def test_limits_are_each_for_their_own_splits_and_may_be_over_the_size() -> None:
    data = wow(MINI, limit_train=100_000, limit_valid=3, limit_test=5)
    assert load_examples(data, GOLD, "train") == load_examples(wow(MINI), GOLD, "train")
    sizes = {split: len(load_examples(data, GOLD, split)) for split in SPLITS if split != "train"}
    assert sizes == {"valid_seen": 3, "valid_unseen": 3, "test_seen": 5, "test_unseen": 5}


def test_held_out_turns_may_see_other_knowledge_than_those_of_train() -> None:
    knowledge = KnowledgeConfig(mode="gold", held_out="none")
    assert any(example.knowledge for example in load_examples(wow(MINI), knowledge, "train"))
    assert not any(example.knowledge for example in load_examples(wow(MINI), knowledge, "valid_unseen"))
