"""A small source of articles, and its index of any kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import RetrieverConfig
from wikillama.data.retrieval.build import open_index
from wikillama.data.retrieval.index import Index

ARTICLES = {
    "Tea": ["Tea is a hot drink from leaves.", "It was first grown in China.", "People add milk to it."],
    "Ford Mustang": ["Ford began to build the car in 1964.", "Its engine has eight cylinders.", "It is fast."],
    "Honey bee": ["Bees make honey from nectar.", "A queen lays eggs.", "Bees sleep at night."],
    "China": ["China is a large country.", "Its capital is Beijing."],
    None: ["A mug is a cup.", "Mugs break."],
}


@pytest.fixture(scope="session")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "articles.jsonl"
    rows = (json.dumps({"title": title, "text": sentences}) for title, sentences in ARTICLES.items())
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def opened(articles: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Index]:
    """`opened(kind, ...)`: the index of these articles."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def open_one(kind: Any = "bm25", **given: Any) -> Index:
        return open_index(RetrieverConfig(kind=kind, source=str(articles), **given), cache)

    return open_one
