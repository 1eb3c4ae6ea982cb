"""Conversations held out whole where a split has no file of its own."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig
from wikillama.data.corpus import Split, find, read_dialogues, read_source, sources
from wikillama.data.dialogue import BadRow
from wikillama.data.wow import SPLIT_FILES
from wikillama.errors import InputError

MINI = ROOT / "data" / "wow_mini"
SPLITS: tuple[Split, ...] = get_args(Split)
Make = Callable[..., DataConfig]


def wow(path: Path) -> DataConfig:
    return DataConfig(name="wow", format="wow", path=str(path))


@pytest.fixture
def jsonl(compose: Callable[..., Any], tmp_path: Path) -> Make:
    """A corpus of `n` conversations of three rows each, with these overrides."""

    def make(n: int, *overrides: str, file: str = "all.jsonl") -> DataConfig:
        lines = []
        for c in range(n):
            said = ["persona", f"q{c}"]
            for k in range(3):
                lines.append(json.dumps({"Context": " EOS ".join(said), "Knowledge": "", "Response": f"r{c}.{k}"}))
                said += [f"r{c}.{k}", f"q{c}.{k}"]
        content = "\n".join(lines).encode()
        (tmp_path / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
        return compose("data=jsonl", f"data.train={tmp_path / file}", *overrides, name="prepare").data  # type: ignore[no-any-return]

    return make


def ids(data: DataConfig, split: str) -> list[str]:
    return [dialogue.id for dialogue in read_dialogues(data, split)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("holdout", "held"), [(0.1, 2), (0.25, 5), (0.01, 1)])
@pytest.mark.parametrize("file", ["all.jsonl", "all.jsonl.gz"])
def test_whole_conversations_are_held_out(jsonl: Make, file: str, holdout: float, held: int) -> None:
    data = jsonl(20, f"data.holdout={holdout}", file=file)
    parts = {split: list(read_dialogues(data, split)) for split in ("train", "valid_seen", "test_seen")}  # type: ignore[arg-type]
    assert {split: len(found) for split, found in parts.items()} == {
        "train": 20 - 2 * held,
        "valid_seen": held,
        "test_seen": held,
    }
    together = [dialogue for found in parts.values() for dialogue in found]
    assert len({dialogue.id for dialogue in together}) == 20  # and so no overlap
    assert all(sum(turn.target for turn in dialogue.turns) == 3 for dialogue in together)
    again = {split: list(read_dialogues(data, split)) for split in parts}  # type: ignore[arg-type]
    assert again == parts


def test_bad_rows_change_nothing_about_what_else_is_held_out(jsonl: Make, tmp_path: Path) -> None:
    data = jsonl(20)
    before = {split: ids(data, split) for split in ("train", "valid_seen", "test_seen")}
    with (tmp_path / "all.jsonl").open("a", encoding="utf-8") as file:
        file.write("\nbroken\n")
    for split, found in before.items():
        bad: list[BadRow] = []
        assert [d.id for d in read_dialogues(data, split, bad.append)] == found  # type: ignore[arg-type]
        assert [row.where for row in bad] == [f"{tmp_path / 'all.jsonl'}: line 61"]
        with pytest.raises(InputError, match="line 61: broken"):
            ids(data, split)


def test_only_a_split_without_a_file_is_held_out(jsonl: Make, tmp_path: Path) -> None:
    jsonl(5, file="valid.jsonl")
    data = jsonl(20, f"data.valid={tmp_path / 'valid.jsonl'}")
    assert ids(data, "valid_seen") == [f"valid:{number}" for number in range(5)]
    assert len(ids(data, "train")) == 18
    assert not set(ids(data, "train")) & set(ids(data, "test_seen"))


def test_nothing_is_held_out_of_train_where_all_splits_have_files(jsonl: Make, tmp_path: Path) -> None:
    jsonl(5, file="other.jsonl")
    data = jsonl(20, f"data.valid={tmp_path / 'other.jsonl'}", f"data.test={tmp_path / 'other.jsonl'}")
    assert ids(data, "train") == [f"all:{number}" for number in range(20)]


def test_too_few_conversations_to_hold_out(jsonl: Make) -> None:
    assert len(ids(jsonl(3), "train")) == 1
    with pytest.raises(InputError, match="2 conversations are too few to hold out valid_seen, test_seen"):
        ids(jsonl(2), "train")


@pytest.mark.parametrize("file", ["train.json", "train.json.gz"])
def test_a_single_file_of_the_original_layout_is_split(tmp_path: Path, file: str) -> None:
    content = (MINI / "train.json").read_bytes()
    (tmp_path / file).write_bytes(gzip.compress(content, 1) if file.endswith(".gz") else content)
    data = wow(tmp_path / file)
    train, valid, test = (set(ids(data, split)) for split in ("train", "valid_seen", "test_seen"))
    assert len(train | valid | test) == len(train) + len(valid) + len(test) == 70
    assert len(valid) == len(test) == 7
    source = find(data, "train")
    assert source is not None
    assert {dialogue.id for dialogue in read_source(data, source)} == train | valid | test


def test_what_is_held_out_is_the_same_everywhere(jsonl: Make) -> None:
    """In each process and on each machine, so that nobody trains on what another run is scored on."""
    data = jsonl(20)
    assert (ids(data, "valid_seen"), ids(data, "test_seen")) == (["all:2", "all:3"], ["all:1", "all:16"])


def test_sources_are_all_that_decides_on_a_split(jsonl: Make, tmp_path: Path) -> None:
    def names(data: DataConfig, split: Split) -> list[str]:
        return [source.name for source in sources(data, split)]

    assert [names(wow(MINI), split) for split in SPLITS] == [
        [file.removesuffix(".json")] for file in SPLIT_FILES.values()
    ]
    one = wow(MINI / "train.json")
    assert [names(one, split) for split in ("train", "valid_seen", "test_seen")] == [["train"]] * 3
    jsonl(5, file="valid.jsonl")
    data = jsonl(20, f"data.valid={tmp_path / 'valid.jsonl'}")
    assert names(data, "valid_seen") == ["valid"]
    assert names(data, "train") == names(data, "test_seen") == ["all", "valid"]


@pytest.mark.parametrize("split", ["valid_unseen", "test_unseen"])
def test_unseen_topics_cannot_be_held_out(jsonl: Make, split: str) -> None:
    for data in (wow(MINI / "train.json"), jsonl(20)):
        with pytest.raises(InputError, match="use suite=seen"):
            ids(data, split)
