"""BM25 of articles and sentences against the formula, worked out word by word."""

import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wikillama.data.retrieval.articles import Articles, Words, write_articles
from wikillama.data.retrieval.lexical import Lexical, write_lexical
from wikillama.data.retrieval.sources import Article
from wikillama.data.retrieval.words import Vocabulary

SOURCE = [
    Article("Tea", "a", ("Tea is hot.", "Green tea grows on green bushes.", "Cups break.")),
    Article(None, "b", ("A red cup breaks.", "Red cars are fast.")),
    Article("Car", "c", ("It has an engine.",)),
]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Lexical, Articles, Vocabulary, list[tuple[int, int]]]:
    vocabulary = Vocabulary()
    write_articles(tmp_path, SOURCE, vocabulary)
    articles, said = Articles(tmp_path), list[tuple[int, int]]()
    write_lexical(tmp_path, articles, vocabulary.numbers, lambda *now: said.append(now))
    lexical = Lexical(tmp_path)
    return lexical, articles, Vocabulary(lexical.numbers), said


def bm25(query: list[int], texts: list[list[int]], of: list[list[int]]) -> list[float]:
    """Scores of `texts` in the collection `of`."""
    mean = sum(map(len, of)) / len(of)
    scores = []
    for text in texts:
        counts, score = Counter(text), 0.0
        for word in query:
            having = sum(word in other for other in of)
            idf = math.log(1 + (len(of) - having + 0.5) / (having + 0.5))
            score += idf * counts[word] / (counts[word] + 1.5 * (1 - 0.75 + 0.75 * len(text) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["green tea", "a cup of tea, a cup", "fast car engine", "submarine", ""])
def test_scores_are_those_of_the_formula(
    made: tuple[Lexical, Articles, Vocabulary, list[tuple[int, int]]], query: str
) -> None:
    lexical, articles, vocabulary, _ = made
    asked = vocabulary(query)
    sentences = [[vocabulary(f"{a.title or ''} {s}") for s in a.sentences] for a in SOURCE]
    whole = [[word for sentence in article for word in sentence] for article in sentences]
    assert lexical.articles(asked) == pytest.approx(bm25(asked, whole, whole), rel=1e-5)
    every = [sentence for article in sentences for sentence in article]
    for number, own in enumerate(sentences):
        assert lexical.sentences(asked, articles.words(number)) == pytest.approx(bm25(asked, own, every), rel=1e-5)


def test_told_is_the_weighted_share_of_words_that_one_turn_has(
    made: tuple[Lexical, Articles, Vocabulary, list[tuple[int, int]]],
) -> None:
    lexical, articles, vocabulary, _ = made
    every = [set(vocabulary(f"{a.title or ''} {s}")) for a in SOURCE for s in a.sentences]

    def idf(word: str) -> float:
        having = sum(vocabulary(word)[0] in sentence for sentence in every)
        return math.log(1 + (len(every) - having + 0.5) / (having + 0.5))

    red_cup, red_cars = idf("red") + idf("cup") + idf("break"), idf("red") + idf("car") + idf("fast")
    turns = [vocabulary("My cup is red!"), vocabulary("Cars break, fast cars.")]
    told = lexical.told(turns, articles.words(1))
    expected = [
        max(idf("red") + idf("cup"), idf("break")) / red_cup,
        max(idf("red"), idf("car") + idf("fast")) / red_cars,
    ]
    assert told == pytest.approx(expected, rel=1e-5)
    assert lexical.told([], articles.words(1)).tolist() == [0, 0]
    nothing = Words(np.array([], np.int32), np.array([0], np.int32))
    assert lexical.told(turns, nothing).tolist() == [0]


def test_progress_counts_all_passes(made: tuple[Lexical, Articles, Vocabulary, list[tuple[int, int]]]) -> None:
    assert made[3] == [(3, 9), (6, 9), (9, 9)]


def test_jax_is_kept_off_the_gpu(tmp_path: Path) -> None:
    """bm25s imports JAX where it is installed, and calls it: a JAX that fails as on a GPU without memory to spare."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").touch()
    (tmp_path / "jax" / "lax.py").write_text(
        "import os\nif os.environ.get('JAX_PLATFORMS') != 'cpu': raise RuntimeError('RESOURCE_EXHAUSTED')\n"
        "def top_k(scores, k): return scores[:k], list(range(k))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-c", "import wikillama.data.retrieval.lexical, sys; assert 'jax.lax' in sys.modules"]
    subprocess.run(command, env=environment, check=True)
