"""Vectors on disk are those of the sentences under their titles, and articles are the means of theirs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from wikillama.data.retrieval.articles import Articles, write_articles
from wikillama.data.retrieval.dense import Dense, write_dense
from wikillama.data.retrieval.encoder import SentenceEncoder, Vectors, Watch
from wikillama.data.retrieval.sources import Article
from wikillama.data.retrieval.words import Vocabulary


class Letters(SentenceEncoder):
    """Counts letters; what it was asked is kept in its `folder`."""

    def __call__(self, texts: Sequence[str], watch: Watch | None = None) -> Vectors:
        with self.folder.open("a") as file:
            file.writelines(f"{text}\n" for text in texts)
        counts = np.array([[text.count(letter) for letter in "etaoin"] for text in texts], np.float32)
        if watch is not None:
            watch(len(texts), len(texts))
        vectors: Vectors = counts / np.linalg.norm(counts, axis=1, keepdims=True)
        return vectors


def test_articles_and_sentences_keep_their_places_over_batches(tmp_path: Path) -> None:
    source = [
        Article(
            "Tea" if n % 2 else None, f"{n}", tuple(f"note {'ea'[s % 2] * n} in {'t' * s}" for s in range(1 + n % 3))
        )
        for n in range(6_000)
    ]
    write_articles(tmp_path, source, Vocabulary())
    articles, said = Articles(tmp_path), list[tuple[int, int]]()
    assert len(articles.batches) == 2
    encoder = Letters(tmp_path / "asked")
    write_dense(tmp_path, articles, encoder, lambda *now: said.append(now))
    total = sum(len(article.sentences) for article in source)
    assert [done for done, _ in said] == [articles.first[articles.batches[0].num_rows], total]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:4] == ["note  in ", "Tea: note e in ", "Tea: note a in t", "note ee in "]
    dense = Dense(tmp_path, encoder)
    query = dense.query("tea tin")
    ours = encoder([f"{a.title}: {s}" if a.title else s for a in source for s in a.sentences])
    assert dense.sentences(query, [(0, total)]) == pytest.approx(ours @ query, abs=2e-3)  # kept in 16 bit
    spans = [(int(articles.first[n]), int(articles.first[n + 1])) for n in (5_999, 2)]
    expected = np.concatenate([ours[first:last] @ query for first, last in spans])
    assert dense.sentences(query, spans) == pytest.approx(expected, abs=2e-3)
    scores = dense.articles(query)
    for n in (0, 2, 5_555, 5_999):
        mean = ours[articles.first[n] : articles.first[n + 1]].mean(0)
        assert scores[n] == pytest.approx(mean @ query / np.linalg.norm(mean), abs=1e-4)
