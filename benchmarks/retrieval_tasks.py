"""What the retrievers are asked in retrieval_recall.py: pools of articles, and turns before which nothing is known."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wikillama.config.schema import DataConfig, RowFields
from wikillama.data.corpus import Source, read_source
from wikillama.data.dialogue import Dialogue
from wikillama.data.retrieval.sources import read_articles


class Asked(NamedTuple):
    """What is known before a reply, and the sentence that it used."""

    topic: str | None
    turns: tuple[str, ...]
    told: tuple[str, ...]
    gold: str


@dataclass(frozen=True, slots=True)
class Task:
    """A source of articles and what is looked up in it; `ways` are those in which it is asked."""

    name: str
    pool: str
    source: Path
    asked: list[Asked]
    ways: tuple[str, ...]


WAYS: dict[str, Callable[[Asked], tuple[str | None, Sequence[str], Sequence[str]]]] = {
    "last two turns": lambda asked: (None, asked.turns[-2:], ()),
    "conversation": lambda asked: (asked.topic, asked.turns, ()),
    "conversation, told known": lambda asked: (asked.topic, asked.turns, asked.told),
}


def tidy(text: str) -> str:
    return " ".join(text.split())


def asked_in(dialogues: Iterator[Dialogue]) -> list[Asked]:
    found = []
    for dialogue in dialogues:
        for place, turn in enumerate(dialogue.turns):
            if turn.target and turn.knowledge and place:
                before = dialogue.turns[:place]
                told = tuple(tidy(earlier.knowledge) for earlier in before if earlier.knowledge)
                turns = tuple(earlier.text for earlier in before)
                found.append(Asked(dialogue.topic, turns, told, tidy(turn.knowledge)))
    return found


def gold_pool(folder: Path, made: Path, split: str) -> Task:
    """Every sentence that the split's Wizards chose, each an article of its own without a title."""
    path = folder / f"godel_wow_{split}.jsonl"
    fields = RowFields(context="Context", knowledge="Knowledge", response="Response", separator=" EOS ")
    data = DataConfig(name=split, format="jsonl", fields=fields.model_copy(update={"persona_first": True}), holdout=0.1)
    asked = asked_in(read_source(data, Source(path, split)))
    sentences = dict.fromkeys(one.gold for one in asked)
    source = write_articles(made / f"{split}.jsonl", [(None, [sentence]) for sentence in sentences])
    pool = f"{len(sentences):,} sentences that these turns used, no titles, no other sentence"
    return Task(f"{split} seen", pool, source, asked, tuple(WAYS))


def titled_pool(folder: Path, made: Path) -> Task:
    """500 turns of Test Seen whose sentences have titles."""
    with (folder / "conner_test_seen_500.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    articles: dict[str, dict[str, None]] = defaultdict(dict)
    asked = []
    for title, context, sentence, _ in rows:
        turns = tuple(filter(None, map(tidy, context.split("[SEP]"))))
        if turns and sentence.strip() != "no_passages_used":
            articles[title][tidy(sentence)] = None
            asked.append(Asked(None, turns, (), tidy(sentence)))
    source = write_articles(made / "titled.jsonl", [(title, list(own)) for title, own in articles.items()])
    pool = f"{sum(map(len, articles.values())):,} sentences that these turns used, in {len(articles):,} titled articles"
    return Task("test seen, titled", pool, source, asked, ("last two turns", "conversation"))


def corpus_pool(name: str, path: Path, splits: Sequence[Source]) -> Task:
    """All passages of a corpus in the original layout, asked with the dialogue's topic."""
    data = DataConfig(name=name, format="wow", path=str(path), holdout=0.1)
    asked = [one for split in splits for one in asked_in(read_source(data, split))]
    held = [sentence for article in read_articles(str(path), lambda row: None, lambda done, size: None)
            for sentence in article.sentences]  # fmt: skip
    known = set(map(tidy, held))
    pool = f"{len(held):,} sentences: all passages that its dialogues brought up, whole"
    return Task(name, pool, path, [one for one in asked if one.gold in known], tuple(WAYS))


def write_articles(path: Path, articles: list[tuple[str | None, list[str]]]) -> Path:
    lines = (json.dumps({"title": title, "text": sentences}) for title, sentences in articles)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
