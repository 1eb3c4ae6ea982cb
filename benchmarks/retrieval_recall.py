"""Measures how often the retrievers find the sentence that a Wizard chose, and its article.

python benchmarks/retrieval_recall.py FOLDER                 pieces of Wizard of Wikipedia that others have published
python benchmarks/retrieval_recall.py FOLDER --turns 200     so many turns of each task, evenly; another record
python benchmarks/retrieval_recall.py FOLDER --record FILE.json

FOLDER holds godel_wow_valid.jsonl and godel_wow_test.jsonl (microsoft/GODEL's layout of Valid Seen and Test Seen),
conner_test_seen_500.tsv (title, context, sentence, reply; ChanLiang/CONNER) and original_layout_train_5.json.

Nothing of the reply, and nothing that was fetched for it, is in a query. What is looked through always holds the chosen
sentence; each task says what else. Counted are turns that used knowledge and that somebody spoke before. An article is
found where one of the first k sentences is out of an article that holds the chosen one.
"""

import argparse
import json
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from retrieval_tasks import WAYS, Task, corpus_pool, gold_pool, tidy, titled_pool
from rich.console import Console
from rich.table import Table

from wikillama.config.paths import ROOT
from wikillama.config.schema import RetrieverConfig
from wikillama.data.corpus import Source, evenly
from wikillama.data.retrieval.build import open_index
from wikillama.data.retrieval.encoder import SentenceEncoder, Vectors, Watch, sentence_encoder
from wikillama.data.retrieval.index import Index, query_text
from wikillama.data.retrieval.sources import read_articles
from wikillama.data.retrieval.words import content_words
from wikillama.tracking.facts import code_tags, environment_tags

CUTS = (1, 5, 7)
KINDS: tuple[Literal["bm25", "dense", "hybrid"], ...] = ("bm25", "dense", "hybrid")
# of sentences at 1, 5, 7 on the task "valid seen" in the way "last two turns", measured before this project's retriever
BEFORE = {
    "bm25s as it comes": (0.107, 0.309, 0.348),
    "SQLite FTS5 with its Porter stemmer": (0.115, 0.332, 0.378),
    "all-MiniLM-L6-v2": (0.176, 0.539, 0.606),
}
PUBLISHED = {
    "Fine-Tune-or-Rag (Alghisi et al. 2024), all-mpnet-base-v2, test unseen, about 61 candidates a turn": {
        "sentence": {"1": 0.122, "3": 0.334, "5": 0.471},
        "article": {"1": 0.687, "3": 0.792, "5": 0.827},
    },
    "Transformer MemNet, public re-train (ParlAI), test seen and unseen, about 61 candidates": {
        "sentence": {"1": [0.220, 0.112]}
    },
    "SKT, released checkpoint, test seen and unseen, about 61 candidates": {"sentence": {"1": [0.273, 0.186]}},
}


@dataclass(frozen=True, slots=True)
class Remembering(SentenceEncoder):
    """An encoder that has met its texts before: one at a time takes far longer than many together."""

    known: dict[str, Any]

    def __call__(self, texts: Sequence[str], watch: Watch | None = None) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, SentenceEncoder(self.folder)(new, watch), strict=True))
        return np.stack([self.known[text] for text in texts])


def recall(index: Index, task: Task, way: str) -> dict[str, dict[str, float]]:
    holding: dict[str, set[str]] = defaultdict(set)
    for article in read_articles(str(task.source), lambda row: None, lambda done, size: None):
        for sentence in article.sentences:
            holding[tidy(sentence)].add(article.title or article.source)
    hits = np.zeros((2, len(CUTS)))
    for one in task.asked:
        topic, turns, told = WAYS[way](one)
        found = index.search(topic, turns, max(CUTS), told)
        sentences = [tidy(each.sentence.text) == one.gold for each in found]
        articles = [each.article in holding[one.gold] for each in found]
        hits += [[any(right[:cut]) for cut in CUTS] for right in (sentences, articles)]
    return {
        name: {str(cut): round(float(hit) / len(task.asked), 3) for cut, hit in zip(CUTS, row, strict=True)}
        for name, row in zip(("sentence", "article"), hits, strict=True)
    }


def fts5(task: Task) -> dict[str, dict[str, float]]:
    """SQLite's own BM25 with its Porter stemmer over the same sentences and words, for comparison."""
    base = sqlite3.connect(":memory:")
    base.execute("create virtual table held using fts5(text, tokenize='porter unicode61 remove_diacritics 2')")
    for article in read_articles(str(task.source), lambda row: None, lambda done, size: None):
        base.executemany("insert into held values (?)", [(sentence,) for sentence in article.sentences])
    hits = np.zeros(len(CUTS))
    for one in task.asked:
        words = dict.fromkeys(content_words(" ".join(one.turns[-2:])))
        wanted = " OR ".join(f'"{word}"' for word in words)
        query = "select text from held where held match ? order by bm25(held) limit ?"
        found = [text for (text,) in base.execute(query, (wanted, max(CUTS)))] if words else []
        hits += [one.gold in map(tidy, found[:cut]) for cut in CUTS]
    return {"sentence": {str(c): round(float(h) / len(task.asked), 3) for c, h in zip(CUTS, hits, strict=True)}}


def measured(tasks: list[Task], cache: Path) -> list[dict[str, Any]]:
    encoder = Remembering(sentence_encoder(None, "this benchmark").folder, {})
    rows = []
    for task in tasks:
        encoder([query_text(*WAYS[way](one)[:2]) for way in task.ways for one in task.asked])
        for kind in KINDS:
            config = RetrieverConfig(kind=kind, source=str(task.source))
            made = open_index(config, str(cache))
            index = Index(made.folder, made.facts, config, None if kind == "bm25" else encoder)
            for way in task.ways:
                rows.append({"task": task.name, "way": way, "retriever": kind, **recall(index, task, way)})
        if "last two turns" in task.ways:
            rows.append({"task": task.name, "way": "last two turns", "retriever": "SQLite FTS5", **fts5(task)})
    return rows


def table(rows: list[dict[str, Any]], tasks: list[Task]) -> Table:
    shown = Table("task", "way", "retriever", *(f"sentence@{cut}" for cut in CUTS), *(f"article@{cut}" for cut in CUTS))
    for task in tasks:
        for way in task.ways:
            for row in (row for row in rows if (row["task"], row["way"]) == (task.name, way)):
                figures = [row.get(what, {}).get(str(cut)) for what in ("sentence", "article") for cut in CUTS]
                cells = ("" if figure is None else f"{figure:.3f}" for figure in figures)
                shown.add_row(f"{task.name} ({len(task.asked):,})", way, row["retriever"], *cells)
        shown.add_section()
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int)
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "retrieval_recall.json")
    arguments = parser.parse_args()
    mini = ROOT / "data" / "wow_mini"
    five = arguments.folder / "original_layout_train_5.json"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        tasks = [
            gold_pool(arguments.folder, made, "valid"),
            gold_pool(arguments.folder, made, "test"),
            titled_pool(arguments.folder, made),
            corpus_pool("first five of train", five, [Source(five, "train")]),
            corpus_pool("wow_mini", mini, [Source(file, file.stem) for file in sorted(mini.glob("test_*_split.json"))]),
        ]
        for task in tasks:
            task.asked[:] = [task.asked[place] for place in evenly(len(task.asked), arguments.turns)]
        rows = measured(tasks, made / "cache")
    record = {
        "what": "recall of the chosen sentence and of its article among the first k sentences found",
        "command": "python benchmarks/retrieval_recall.py FOLDER"
        + (f" --turns {arguments.turns}" if arguments.turns else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": [{"name": task.name, "turns": len(task.asked), "pool": task.pool} for task in tasks],
        "tuned_on": "valid seen",
        "recall": rows,
        "before": {name: dict(zip(map(str, CUTS), figures, strict=True)) for name, figures in BEFORE.items()},
        "published": PUBLISHED,
        **code_tags(),
        **environment_tags(),
    }
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    Console(width=140).print(table(rows, tasks))


if __name__ == "__main__":
    main()
