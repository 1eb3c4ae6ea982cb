"""Vectors of sentences and of articles on disk, memory-mapped; nearness is their cosine."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from wikillama.data.retrieval.articles import Articles
from wikillama.data.retrieval.encoder import SentenceEncoder

Scores = np.ndarray[tuple[int], np.dtype[np.float32]]
Watch = Callable[[int, int], None]  # sentences done, sentences in all

_SENTENCES, _ARTICLES = "sentence_vectors.npy", "article_vectors.npy"


def write_dense(folder: Path, articles: Articles, encoder: SentenceEncoder, watch: Watch) -> None:
    """Write vectors of sentences (float16), each read under its title, and of articles, their means (float32)."""
    sentences = means = None
    article, count = 0, int(articles.first[-1])
    for batch in articles.batches:
        first, last = articles.first[article], articles.first[article + batch.num_rows]
        titles, texts = batch.column("title").to_pylist(), batch.column("sentences").to_pylist()
        read = [f"{title}: {text}" if title else text for title, own in zip(titles, texts, strict=True) for text in own]
        vectors = encoder(read, partial(_on_from, watch, int(first), count))
        if sentences is None or means is None:
            sentences = _created(folder / _SENTENCES, np.float16, (count, vectors.shape[1]))
            means = _created(folder / _ARTICLES, np.float32, (len(articles), vectors.shape[1]))
        sentences[first:last] = vectors
        starts = articles.first[article : article + batch.num_rows] - first
        sums = np.add.reduceat(vectors, starts)
        means[article : article + batch.num_rows] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        article += batch.num_rows
    for written in (sentences, means):
        if written is not None:
            written.flush()


def _on_from(watch: Watch, first: int, count: int, done: int, of: int) -> None:
    watch(first + done, count)


def _created(path: Path, kind: type[np.floating], shape: tuple[int, int]) -> np.memmap:
    return np.lib.format.open_memmap(path, "w+", kind, shape)


class Dense:
    """Vectors of an index. Raises OSError or ValueError for a broken file."""

    def __init__(self, folder: Path, encoder: SentenceEncoder) -> None:
        self._sentences = np.load(folder / _SENTENCES, mmap_mode="r")
        self._articles = np.load(folder / _ARTICLES, mmap_mode="r")
        self._encoder = encoder

    def query(self, text: str) -> Scores:
        """The vector of a text."""
        vector: Scores = self._encoder([text])[0]
        return vector

    def articles(self, query: Scores) -> Scores:
        """The cosine (-1..1) of each article with the query."""
        scores: Scores = self._articles @ query
        return scores

    def sentences(self, query: Scores, spans: Iterable[tuple[int, int]]) -> Scores:
        """The cosine (-1..1) of sentences with the query; a span of them is (first, the one after the last)."""
        vectors = np.concatenate([self._sentences[first:last] for first, last in spans])
        scores: Scores = vectors.astype(np.float32) @ query
        return scores
