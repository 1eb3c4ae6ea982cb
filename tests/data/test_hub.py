"""Datasets as `datasets.load_dataset` reads them: local folders, fields, splits, and what cannot be had."""

import json
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from wikillama.config.schema import DataConfig, KnowledgeConfig, RowFields
from wikillama.data.corpus import load_examples, read_dialogues
from wikillama.data.dialogue import BadRow, Dialogue
from wikillama.data.hub import open_split, read_hub
from wikillama.errors import InputError

FIELDS = RowFields(context="history", knowledge="facts", response="reply", persona="who", topic="about")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(talks: int, prefix: str) -> list[dict[str, Any]]:
    """`talks` conversations of two rows, the second row going on from the first; none is known of the last one."""
    found = []
    for n in range(talks):
        about = {"about": f"topic {n}", "who": f"person {n}"} if n < talks - 1 else {"about": None, "who": None}
        first, second = f"{prefix} reply {n}.0", f"{prefix} reply {n}.1"
        found.append({"history": ["Hi."], "facts": [f"fact {n}", "more"], "reply": first, **about})
        found.append({"history": ["Hi.", first, "Go on."], "facts": [], "reply": second, **about})
    return found


def folder(path: Path, ending: str, **splits: list[dict[str, Any]]) -> Path:
    path.mkdir()
    for split, found in splits.items():
        if ending == "parquet":
            datasets.Dataset.from_list(found).to_parquet(path / f"{split}.parquet")
        else:
            (path / f"{split}.{ending}").write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def hub(path: object, **given: Any) -> DataConfig:
    return DataConfig(
        **{"name": "hub", "format": "hub", "hub_id": str(path), "train": "train", "fields": FIELDS, **given}
    )


def said(dialogues: list[Dialogue]) -> list[list[str]]:
    return [[turn.text for turn in dialogue.turns] for dialogue in dialogues]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_local_folder(tmp_path: Path, ending: str) -> None:
    data = hub(
        folder(tmp_path / "talks", ending, train=rows(3, "train"), validation=rows(2, "valid"), test=rows(2, "test")),
        valid="validation", test="test",
    )  # fmt: skip
    train = list(read_dialogues(data, "train"))
    assert said(train) == [["Hi.", f"train reply {n}.0", "Go on.", f"train reply {n}.1"] for n in range(3)]
    assert [dialogue.id for dialogue in train] == ["train:0", "train:1", "train:2"]
    assert [(d.topic, d.persona) for d in train] == [("topic 0", "person 0"), ("topic 1", "person 1"), (None, None)]
    assert [turn.knowledge for turn in train[1].turns] == [None, "fact 1 more", None, None]
    assert [[turn.target for turn in d.turns] for d in train] == [[False, True] * 2] * 3
    assert [d.id for d in read_dialogues(data, "valid_seen")] == ["validation:0", "validation:1"]
    assert said(list(read_dialogues(data, "test_seen")))[1][-1] == "test reply 1.1"
    examples = load_examples(data, KnowledgeConfig(mode="gold"), "test_seen")
    assert [example.gold_knowledge for example in examples] == ["fact 0 more", None, "fact 1 more", None]


def test_splits_that_are_not_named_are_held_out(tmp_path: Path) -> None:
    data = hub(folder(tmp_path / "talks", "jsonl", train=rows(10, "train")))
    parts = [[d.id for d in read_dialogues(data, split)] for split in ("train", "valid_seen", "test_seen")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [8, 1, 1]
    assert len({i for part in parts for i in part}) == 10
    with pytest.raises(InputError, match="use suite=seen"):
        list(read_dialogues(data, "test_unseen"))


def test_a_bad_row_is_named_and_kept(tmp_path: Path) -> None:
    bad = {**rows(1, "train")[0], "reply": " "}
    path = folder(tmp_path / "talks", "jsonl", train=[*rows(1, "train"), bad, *rows(1, "more")])
    data = hub(path, valid="train", test="train")
    aside: list[BadRow] = []
    assert len(list(read_dialogues(data, "train", aside.append))) == 2
    (row,) = aside
    assert (row.where, row.reason) == (f"{path}, split train: row 3", "'reply' is empty or not text")
    assert json.loads(row.raw) == bad
    with pytest.raises(InputError, match="row 3: 'reply' is empty"):
        list(read_dialogues(data, "train"))


def broken(path: Path) -> Path:
    path.mkdir()
    (path / "train.jsonl").write_text('{"history": []}\n{broken\n')
    return path


def refusal(data: DataConfig) -> str:
    with pytest.raises(InputError) as caught:
        list(read_dialogues(data, "train"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    talks = folder(tmp_path / "talks", "jsonl", train=rows(1, "train"))
    (tmp_path / "empty").mkdir()
    said = {
        name: refusal(data)
        for name, data in {
            "an unknown split": hub(talks, train="training", valid="training", test="training"),
            "an unknown configuration": hub(talks, hub_config="german"),
            "no such folder": hub(tmp_path / "gone"),
            "a folder without data": hub(tmp_path / "empty"),
            "broken data": hub(broken(tmp_path / "broken")),
            "no rows": hub(folder(tmp_path / "none", "jsonl", train=[])),
            "not to be reached": hub("nobody/nothing"),
        }.items()
    }
    assert "split training: cannot be loaded (Unknown split" in said["an unknown split"]
    assert "german" in said["an unknown configuration"]
    assert f"data.hub_id={tmp_path / 'gone'}" in said["no such folder"]
    assert f"data.hub_id={tmp_path / 'empty'}" in said["a folder without data"]
    assert "cannot be loaded (JSON parse error" in said["broken data"]
    assert "cannot be loaded (no rows in it)" in said["no rows"]
    assert "data.hub_id=nobody/nothing" in said["not to be reached"]


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "talks", "parquet", train=rows(1, "train"))
    with pytest.raises(InputError, match=r"^talks: the split is empty$"):
        list(read_hub(open_split(hub(path), "train").select([]), "talks"))
