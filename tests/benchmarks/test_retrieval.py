"""The benchmarks of retrieval: what they make and what they count."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from bm25s.stopwords import STOPWORDS_EN_PLUS

from wikillama.config.paths import ROOT
from wikillama.config.schema import RetrieverConfig
from wikillama.data.retrieval.build import open_index


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    recall = loaded("retrieval_recall")
    articles = [("Tea", ["Tea is hot.", "Tea is a drink.", "Tea is green."]), ("Mug", ["Mugs break."])]
    source = recall.write_articles(tmp_path / "articles.jsonl", articles)
    asked = [
        recall.Asked(None, ("What is hot tea?",), (), "Tea is hot."),
        recall.Asked(None, ("A hot tea?",), (), "Tea is  green."),  # the article, not its first sentence
        recall.Asked(None, ("Submarines?",), (), "Mugs break."),
        recall.Asked("Tea", ("Hot?",), ("Tea is hot.",), "Tea is a drink."),
    ]
    task = recall.Task("task", "pool", source, [one._replace(gold=recall.tidy(one.gold)) for one in asked], ())
    index = open_index(RetrieverConfig(source=str(source)), str(tmp_path / "cache"))
    found = recall.recall(index, task, "conversation")
    assert found["sentence"] == {"1": 0.25, "5": 0.75, "7": 0.75}
    assert found["article"] == {"1": 0.75, "5": 0.75, "7": 0.75}
    assert recall.recall(index, task, "conversation, told known")["sentence"]["1"] == 0.5
    without_topic = recall.recall(index, task, "last two turns")
    assert without_topic["sentence"]["7"] == 0.5  # "Hot?" alone has nothing to do with a drink
    assert without_topic["article"]["7"] == 0.75
