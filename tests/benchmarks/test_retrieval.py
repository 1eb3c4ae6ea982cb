"""The benchmarks of retrieval: what they make and what they count."""

import importlib
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from bm25s.stopwords import STOPWORDS_EN_PLUS

from wikillama.config.paths import ROOT
from wikillama.config.schema import RetrieverConfig
from wikillama.data.retrieval.build import open_index


def loaded(name: str) -> ModuleType:
    """A module of benchmarks/, which find each other there."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def size() -> ModuleType:
    return loaded("retrieval_size")


def test_generated_articles_are_of_the_size_asked_for(size: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "articles.jsonl"
    assert size.write(path, 3_000) == len(path.read_text().splitlines()) > 80
    index = open_index(RetrieverConfig(source=str(path)), str(tmp_path / "cache"))
    assert index.facts.sentences == 3_000
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    words = [word.rstrip(".").lower() for row in rows for word in row["text"].split()]
    assert 20 < len(words) / 3_000 < 25
    frequent = [word for word, _ in Counter(words).most_common(40)]
    assert set(frequent) <= set(STOPWORDS_EN_PLUS)
    assert len(set(words)) > 10_000  # and most words are rare
    asked = size.queries(path) if len(rows) >= size.QUERIES else []
    assert not asked
    found = index.search(rows[7]["title"], [" ".join(rows[7]["text"].split()[:14])], 5)
    assert found[0].article == rows[7]["title"]


def test_recall_counts_sentences_and_articles(tmp_path: Path) -> None:
    recall, tasks = loaded("retrieval_recall"), loaded("retrieval_tasks")
    articles = [("Tea", ["Tea is hot.", "Tea is a drink.", "Tea is green."]), ("Mug", ["Mugs break."])]
    source = tasks.write_articles(tmp_path / "articles.jsonl", articles)
    asked = [
        tasks.Asked(None, ("What is hot tea?",), (), "Tea is hot."),
        tasks.Asked(None, ("A hot tea?",), (), "Tea is  green."),  # the article, not its first sentence
        tasks.Asked(None, ("Submarines?",), (), "Mugs break."),
        tasks.Asked("Tea", ("Hot?",), ("Tea is hot.",), "Tea is a drink."),
    ]
    task = tasks.Task("task", "pool", source, [one._replace(gold=tasks.tidy(one.gold)) for one in asked], ())
    index = open_index(RetrieverConfig(source=str(source)), str(tmp_path / "cache"))
    found = recall.recall(index, task, "conversation")
    assert found["sentence"] == {"1": 0.25, "5": 0.75, "7": 0.75}
    assert found["article"] == {"1": 0.75, "5": 0.75, "7": 0.75}
    told = [asked[-1]._replace(turns=("Hot or green?",), told=("Tea is hot.",), gold="Tea is green.")]
    told_known = replace(task, asked=told)
    assert recall.recall(index, told_known, "conversation")["sentence"]["1"] == 0
    assert recall.recall(index, told_known, "conversation, told known")["sentence"]["1"] == 1
    without_topic = recall.recall(index, task, "last two turns")
    assert without_topic["sentence"]["7"] == 0.5  # "Hot?" alone has nothing to do with a drink
    assert without_topic["article"]["7"] == 0.75
