"""Proves that a corpus in the original Wizard of Wikipedia layout is what training and evaluation take it for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import get_args

import orjson

from wikillama.config.schema import DataConfig
from wikillama.data.corpus import Source, Split, find, read_source
from wikillama.data.dialogue import BadRow, Dialogue
from wikillama.data.grounding import candidates
from wikillama.data.wow import TOPIC_SPLITS
from wikillama.errors import InputError


@dataclass(slots=True)
class Finding:
    """A rule, how often it held, and where it did not, one line each."""

    rule: str
    held: int = 0
    broken: list[str] = field(default_factory=list)

    def note(self, holds: bool, where: str) -> None:
        if holds:
            self.held += 1
        else:
            self.broken.append(where)


def check_corpus(data: DataConfig) -> list[Finding]:
    """All rules with what was found, dialogue by dialogue, held out or not.

    Raises InputError where there is nothing to check.
    """
    readable = Finding("each dialogue can be read: speakers, texts, knowledge, passages")
    alternate = Finding("Wizard and Apprentice take turns")
    topics_given = Finding("each dialogue has its chosen topic and that topic's passage")
    gold = Finding("each gold sentence stands in a passage that was on hand before the reply")
    distinct = Finding("no dialogue stands in the corpus twice")
    topics: dict[str, set[str]] = {}
    seen: set[int] = set()
    for split in get_args(Split):
        source = _source(data, split)
        if source is None:
            continue
        topics[split] = set()

        def on_bad_row(row: BadRow) -> None:
            readable.note(False, f"{row.where}: {row.reason}")

        for dialogue in read_source(data, source, on_bad_row):
            readable.note(True, dialogue.id)
            speakers = [turn.speaker for turn in dialogue.turns]
            alternate.note(all(a != b for a, b in pairwise(speakers)), dialogue.id)
            topics_given.note(bool(dialogue.topic and dialogue.topic_passage), dialogue.id)
            content = hash(tuple(turn.text for turn in dialogue.turns))
            distinct.note(content not in seen, dialogue.id)
            seen.add(content)
            topics[split] |= {dialogue.topic} if dialogue.topic else set()
            for place, sentence in _golds(dialogue):
                known = {s.text.strip() for s in candidates(dialogue, place)}
                gold.note(sentence in known, f"{dialogue.id}, turn {place + 1}: {sentence[:60]!r}")
    return [readable, alternate, topics_given, gold, distinct, *_splits(data, topics)]


def _source(data: DataConfig, split: Split) -> Source | None:
    try:
        return find(data, split)
    except InputError:
        if split == "train":
            raise
        return None


def _golds(dialogue: Dialogue) -> Iterator[tuple[int, str]]:
    return ((place, turn.knowledge) for place, turn in enumerate(dialogue.turns) if turn.knowledge)


def _splits(data: DataConfig, topics: dict[str, set[str]]) -> list[Finding]:
    """Seen topics are topics of train; unseen ones are not, nor shared by valid and test."""
    train = topics["train"]
    seen, unseen = Finding("each topic of a seen split is a topic of train"), Finding("no unseen topic is one of train")
    apart = Finding("no unseen topic serves both valid and test")
    for split, found in topics.items():
        for topic in sorted(found):
            if split.endswith("unseen"):
                unseen.note(topic not in train, f"{split}: {topic}")
            elif split != "train":
                seen.note(topic in train, f"{split}: {topic}")
    for topic in sorted(topics.get("test_unseen", set())):
        apart.note(topic not in topics.get("valid_unseen", set()), topic)
    return [seen, unseen, apart, _lists(data, topics)]


def _lists(data: DataConfig, topics: dict[str, set[str]]) -> Finding:
    finding = Finding(f"{TOPIC_SPLITS} names the topics of train and of the unseen splits")
    path = Path(data.path or "").expanduser() / TOPIC_SPLITS
    if not path.is_file():
        return finding
    try:
        lists = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        lists = None
    if not isinstance(lists, dict):
        finding.note(False, f"{path}: not a JSON object of lists")
        return finding
    for name, split in (("train", "train"), ("valid", "valid_unseen"), ("test", "test_unseen")):
        listed = lists.get(name)
        for topic in sorted(topics.get(split, set())):
            finding.note(isinstance(listed, list) and topic in listed, f"{split}: {topic} is not in list '{name}'")
    return finding
