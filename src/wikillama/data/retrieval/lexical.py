"""BM25 of articles, kept on disk by bm25s, and of the sentences of a few articles, computed when they are asked for.

Okapi BM25 (Robertson and Zaragoza 2009, section 3.5) with the idf of Lucene, which is never negative. An article's
score is a sum of numbers that bm25s computes beforehand (Lu 2024, arXiv:2407.03618): of a million sentences only the
articles need postings, since sentences are ranked within the best articles alone.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bm25s
import numpy as np

from wikillama.data.retrieval.articles import Articles, Words, words_of

Scores = np.ndarray[tuple[int], np.dtype[np.float32]]
Watch = Callable[[int, int], None]  # articles done, articles in all

_K1, _B = 1.5, 0.75
_IDF = "idf.npy"
_PASSES = 3  # that bm25s makes over the articles


class _Documents:
    """Articles as bm25s reads them: lists of word numbers, made when they are asked for."""

    def __init__(self, articles: Articles, watch: Watch) -> None:
        self._articles, self._watch, self._done = articles, watch, 0

    def __len__(self) -> int:
        return len(self._articles)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._articles.batches:
            for article in batch.column("words"):
                yield article.values.flatten().to_pylist()
            self._done += batch.num_rows
            self._watch(self._done, _PASSES * len(self))


def write_lexical(folder: Path, articles: Articles, numbers: dict[str, int], watch: Watch) -> None:
    """Write BM25 of articles, and the idf of words over sentences, to a folder."""
    bm25 = bm25s.BM25(k1=_K1, b=_B)
    documents = _Documents(articles, watch)
    bm25.scores = bm25.build_index_from_ids(range(len(numbers)), documents, show_progress=False)
    bm25.vocab_dict = numbers
    bm25.save(folder, show_progress=False)
    having, sentences, total = np.zeros(len(numbers), np.int64), 0, 0
    for batch in articles.batches:
        words = words_of(batch.column("words").flatten())
        place = np.repeat(np.arange(len(words.lengths), dtype=np.int64), words.lengths)
        pairs = np.sort(place * len(numbers) + words.numbers)  # np.unique is several times slower
        once = pairs[np.diff(pairs, prepend=-1) > 0]
        having += np.bincount(once % len(numbers), minlength=len(numbers))
        sentences, total = sentences + len(words.lengths), total + len(words.numbers)
    idf = np.log1p((sentences - having + 0.5) / (having + 0.5))
    np.save(folder / _IDF, np.append(idf, total / sentences).astype(np.float32))


class Lexical:
    """BM25 of an index. Raises OSError or ValueError for a broken file."""

    def __init__(self, folder: Path) -> None:
        self._bm25 = bm25s.BM25.load(folder, mmap=True, show_progress=False)
        self.numbers: dict[str, int] = self._bm25.vocab_dict
        idf_and_mean = np.load(folder / _IDF)
        self._idf, self._mean_length = idf_and_mean[:-1], float(idf_and_mean[-1])

    def articles(self, query: Sequence[int]) -> Scores:
        """A score for each article; a word that stands in the query twice counts twice."""
        scores: Scores = self._bm25.get_scores_from_ids(list(query))
        return scores

    def sentences(self, query: Sequence[int], words: Words) -> Scores:
        """A score for each sentence."""
        wanted, times = np.unique(np.asarray(query, np.int32), return_counts=True)
        frequency = _frequencies(wanted, words)
        norm = _K1 * (1 - _B + _B * words.lengths[:, None] / self._mean_length)
        scores: Scores = (frequency / (frequency + norm)) @ (times * self._idf[wanted]).astype(np.float32)
        return scores

    def told(self, turns: Sequence[Sequence[int]], words: Words) -> Scores:
        """How much of each sentence (0..1) one of the turns has said: the share of its words, weighted by their idf."""
        mass = np.zeros((len(turns), len(words.lengths)), np.float32)
        place = np.repeat(np.arange(len(words.lengths)), words.lengths)
        weight = self._idf[words.numbers]
        for number, turn in enumerate(turns):
            said = np.isin(words.numbers, np.asarray(turn, np.int32))
            mass[number] = np.bincount(place[said], weight[said], len(words.lengths))
        whole = np.bincount(place, weight, len(words.lengths))
        share: Scores = mass.max(0, initial=0) / np.maximum(whole, np.finfo(np.float32).tiny)
        return share


def _frequencies(
    wanted: "np.ndarray[tuple[int], np.dtype[np.int32]]", words: Words
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """How often each sentence (rows) holds each wanted word (columns); `wanted` is sorted."""
    shape = len(words.lengths), len(wanted)
    if not len(wanted):
        return np.zeros(shape, np.float32)
    column = np.minimum(np.searchsorted(wanted, words.numbers), len(wanted) - 1)
    found = wanted[column] == words.numbers
    row = np.repeat(np.arange(shape[0]), words.lengths)
    cells = np.bincount(row[found] * shape[1] + column[found], minlength=shape[0] * shape[1])
    return cells.reshape(shape).astype(np.float32)
