"""Finds the files of a corpus, holds out whole conversations where a split has none, and takes as much as is asked."""

import random
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from wikillama.config.schema import DataConfig, KnowledgeConfig
from wikillama.data.dialogue import Dialogue, Example
from wikillama.data.grounding import examples
from wikillama.data.jsonl import read_jsonl
from wikillama.data.wow import SPLIT_FILES, read_wow
from wikillama.errors import InputError

Split = Literal["train", "valid_seen", "valid_unseen", "test_seen", "test_unseen"]
_HOLDOUT_SEED = 0  # fixed: what is held out must not change with a run's seed


def split_file(data: DataConfig, split: Split) -> Path | None:
    """The file that holds `split`, or None where the split must be held out of train."""
    if data.format == "jsonl":
        named = {"train": data.train, "valid": data.valid, "test": data.test}[split.split("_")[0]]
        if split.endswith("unseen"):
            raise InputError(f"data={data.name}: JSON lines do not say which topics are unseen; use suite=seen")
        return Path(named).expanduser() if named else None
    folder = Path(data.path or "").expanduser()
    if folder.is_file():
        return folder if split == "train" else None
    path = folder / SPLIT_FILES[split]
    if not path.is_file():
        raise InputError(f"data.path={data.path}: no {SPLIT_FILES[split]} there, which split {split} needs")
    return path


def read_dialogues(data: DataConfig, split: Split) -> Iterator[Dialogue]:
    """The dialogues of a split. Raises InputError for what cannot be read or is not there."""
    read = read_wow if data.format == "wow" else partial(read_jsonl, fields=data.fields)
    path = split_file(data, split)
    if path is not None and (split != "train" or _all_splits_have_files(data)):
        yield from read(path)
        return
    train = split_file(data, "train")
    assert train is not None  # `config.rules.check_data` saw to it
    if split.endswith("unseen"):
        raise InputError(f"data={data.name}: {train} alone does not say which topics are unseen; use suite=seen")
    dialogues = list(read(train))
    roles = _held_out(dialogues, data, train)
    yield from (d for d in dialogues if roles[d.id] == split)


def _all_splits_have_files(data: DataConfig) -> bool:
    return all(split_file(data, split) is not None for split in ("valid_seen", "test_seen"))  # type: ignore[arg-type]


def _held_out(dialogues: list[Dialogue], data: DataConfig, path: Path) -> dict[str, Split]:
    """The split of each conversation of a file from which those splits are taken that have no file of their own."""
    conversations = sorted({d.id for d in dialogues})
    lacking: list[Split] = [s for s in ("valid_seen", "test_seen") if split_file(data, s) is None]  # type: ignore[arg-type,misc]
    size = max(1, round(data.holdout * len(conversations)))
    if len(conversations) <= size * len(lacking):
        raise InputError(f"{path}: {len(conversations)} conversations are too few to hold out {', '.join(lacking)}")
    random.Random(_HOLDOUT_SEED).shuffle(conversations)
    roles: dict[str, Split] = defaultdict(lambda: "train")
    for split in lacking:
        for _ in range(size):
            roles[conversations.pop()] = split
    return roles


def load_examples(data: DataConfig, knowledge: KnowledgeConfig, split: Split) -> list[Example]:
    """The grounded examples of a split, cut to `data.limit_*` by taking turns evenly from all of it.

    Raises InputError where the split holds no Wizard turn.
    """
    found = [example for dialogue in read_dialogues(data, split) for example in examples(dialogue, knowledge)]
    if not found:
        raise InputError(f"data={data.name}: split {split} has no Wizard turn")
    limit: int | None = getattr(data, f"limit_{split.split('_')[0]}")
    if limit is None or limit >= len(found):
        return found
    return [found[i * len(found) // limit] for i in range(limit)]
