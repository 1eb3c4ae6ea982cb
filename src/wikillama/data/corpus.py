"""Finds the files of a corpus, reads them, and holds out whole conversations where a split has no file."""

import gzip
import logging
import os
import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from wikillama.config.schema import DataConfig, KnowledgeConfig
from wikillama.data.archive import open_member
from wikillama.data.dialogue import BadRow, Dialogue, Example, OnBadRow, refuse
from wikillama.data.grounding import ground
from wikillama.data.hub import open_split, read_hub
from wikillama.data.jsonl import read_jsonl
from wikillama.data.retrieval.on_demand import IndexSource
from wikillama.data.rows import dialogues_of
from wikillama.data.wow import SPLIT_FILES, read_wow
from wikillama.errors import InputError

log = logging.getLogger(__name__)

Split = Literal["train", "valid_seen", "valid_unseen", "test_seen", "test_unseen"]
Watch = Callable[[int, int], None]  # bytes read so far, bytes in all
_HOLDOUT_SEED = 0  # fixed: what is held out must not change with a run's seed
_ARCHIVES = (".tgz", ".tar.gz", ".tar")


@dataclass(frozen=True, slots=True)
class Source:
    """What a split is read from: a file, a member of an archive, or a split on the hub."""

    path: Path | None
    name: str  # of the member or the split; of a file, its name without endings

    def __str__(self) -> str:
        return self.name if self.path is None else f"{self.path}" + (f": {self.name}" if _is_archive(self.path) else "")


def _is_archive(path: Path) -> bool:
    return path.name.endswith(_ARCHIVES)


def find(data: DataConfig, split: Split) -> Source | None:
    """What holds `split`, or None where the split must be held out of train.

    Raises InputError where the corpus cannot have the split.
    """
    named = {"train": data.train, "valid": data.valid, "test": data.test}[split.split("_")[0]]
    if data.format != "wow" and split.endswith("unseen"):
        raise InputError(f"data={data.name}: its rows do not say which topics are unseen; use suite=seen")
    if data.format == "hub":
        return Source(None, named) if named else None
    if data.format == "jsonl":
        return Source(Path(named).expanduser(), Path(named).name.split(".")[0]) if named else None
    place = Path(data.path or "").expanduser()
    if place.is_file() and _is_archive(place):
        return Source(place, SPLIT_FILES[split])
    if place.is_file():
        return Source(place, place.name.split(".")[0]) if split == "train" else None
    for file in (SPLIT_FILES[split], f"{SPLIT_FILES[split]}.gz"):
        if (place / file).is_file():
            return Source(place / file, file.split(".")[0])
    raise InputError(f"data.path={data.path}: no {SPLIT_FILES[split]} there, which split {split} needs")


def sources(data: DataConfig, split: Split) -> list[Source]:
    """All that decides what a split holds: its own source, or train's and those of the splits that are not held out."""
    train_alone = split == "train" and all(find(data, s) for s in _HELD_OUT)
    if find(data, split) is not None and (split != "train" or train_alone):
        wanted: tuple[Split, ...] = (split,)
    else:
        wanted = ("train", *_HELD_OUT)
    return [source for s in wanted if (source := find(data, s)) is not None]


_HELD_OUT: tuple[Split, ...] = ("valid_seen", "test_seen")


def read_dialogues(
    data: DataConfig, split: Split, on_bad_row: OnBadRow = refuse, watch: Watch | None = None
) -> Iterator[Dialogue]:
    """The dialogues of a split, one at a time. Raises InputError for what cannot be read or is not there."""
    source = find(data, split)
    if source is not None and (split != "train" or all(find(data, s) for s in _HELD_OUT)):
        found = read_source(data, source, on_bad_row, watch)
    else:
        train = find(data, "train")
        assert train is not None  # `config.rules.check_data` saw to it
        if split.endswith("unseen"):
            raise InputError(f"data={data.name}: {train} alone does not say which topics are unseen; use suite=seen")
        roles = _roles(data, train)
        found = (d for d in read_source(data, train, on_bad_row, watch) if roles[d.id] == split)
    for dialogue in found:
        yield _without_last_reply(dialogue) if data.turns == "parlai" else dialogue


def _without_last_reply(dialogue: Dialogue) -> Dialogue:
    """ParlAI's count of turns: of a dialogue that the Wizard opens, its default teacher leaves out the last reply."""
    if dialogue.turns[0].speaker != "wizard":
        return dialogue
    last = max((place for place, turn in enumerate(dialogue.turns) if turn.target), default=0)
    turns = (replace(turn, target=turn.target and place != last) for place, turn in enumerate(dialogue.turns))
    return replace(dialogue, turns=tuple(turns))


def read_source(
    data: DataConfig, source: Source, on_bad_row: OnBadRow = refuse, watch: Watch | None = None
) -> Iterator[Dialogue]:
    """All dialogues of a source, whichever splits they serve. Raises InputError for what cannot be read."""
    if source.path is None:
        rows = read_hub(open_split(data, source.name), f"{data.hub_id}, split {source.name}")
        yield from dialogues_of(rows, data.fields, source.name, on_bad_row)
        return
    with _opened(source) as (stream, position, size):
        name, where = source.name.removesuffix(".json"), str(source)
        if data.format == "wow":
            found = read_wow(stream, name, where, on_bad_row)
        else:
            found = dialogues_of(read_jsonl(stream, where), data.fields, name, on_bad_row)
        for dialogue in found:
            if watch is not None:
                watch(position(), size)
            yield dialogue


@contextmanager
def _opened(source: Source) -> Iterator[tuple[BinaryIO, Callable[[], int], int]]:
    """The bytes of a source, how far its file or member has been read, and how long that is.

    Raises InputError for a broken compressed file.
    """
    assert source.path is not None
    if _is_archive(source.path):
        with open_member(source.path, source.name) as member:
            size = member.seek(0, os.SEEK_END)  # reads nothing
            member.seek(0)
            yield member, member.tell, size
        return
    with source.path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if source.path.suffix != ".gz":
            yield file, file.tell, size
            return
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield unzipped, file.tell, size  # type: ignore[misc]  # as good as a BinaryIO
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{source.path}: broken or truncated gzip ({error}); get the file again") from error


def _roles(data: DataConfig, train: Source) -> dict[str, Split]:
    """The split of each conversation of a file from which those splits are taken that have no file of their own."""
    conversations = sorted({d.id for d in read_source(data, train, lambda row: None)})
    lacking = [s for s in _HELD_OUT if find(data, s) is None]
    size = max(1, round(data.holdout * len(conversations)))
    if len(conversations) <= size * len(lacking):
        raise InputError(f"{train}: {len(conversations)} conversations are too few to hold out {', '.join(lacking)}")
    random.Random(_HOLDOUT_SEED).shuffle(conversations)
    roles: dict[str, Split] = defaultdict(lambda: "train")
    for split in lacking:
        for _ in range(size):
            roles[conversations.pop()] = split
    return roles


def evenly(count: int, limit: int | None) -> range | list[int]:
    """`limit` of `count` places, spread evenly; all of them where that is fewer, or there is no limit."""
    return range(count) if limit is None or limit >= count else [i * count // limit for i in range(limit)]


def limit_of(data: DataConfig, split: Split) -> int | None:
    """How many Wizard turns of a split are used at most."""
    limit: int | None = getattr(data, f"limit_{split.split('_')[0]}")
    return limit


def load_examples(
    data: DataConfig,
    knowledge: KnowledgeConfig,
    split: Split,
    seed: int = 0,
    index: IndexSource | None = None,
) -> list[Example]:
    """The grounded examples of a split, cut to `data.limit_*` by taking turns evenly from all of it.

    `index` is what knowledge of the source `index` is looked up in.

    Raises InputError where the split holds no Wizard turn.
    """
    bad: list[BadRow] = []
    dialogues = read_dialogues(data, split, bad.append if data.on_bad_row == "skip" else refuse)
    found = list(ground(dialogues, knowledge.for_split(split), seed, index))
    if bad:
        log.warning("%s: %d bad rows left out, such as %s: %s", split, len(bad), bad[0].where, bad[0].reason)
    if not found:
        raise InputError(f"data={data.name}: split {split} has no Wizard turn")
    return [found[i] for i in evenly(len(found), limit_of(data, split))]
