"""The articles of an index on disk: one row an article in an Arrow file, memory-mapped when it is read."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from wikillama.data.retrieval.sources import Article
from wikillama.data.retrieval.words import Vocabulary

_FILE = "articles.arrow"
_BATCH = 8192  # sentences written together, at least
_SCHEMA = pa.schema(
    {
        "title": pa.string(),
        "source": pa.string(),
        "sentences": pa.list_(pa.string()),
        "words": pa.list_(pa.list_(pa.int32())),  # of each sentence under its title
    }
)


class Words(NamedTuple):
    """The numbers of the words of several sentences, one behind the other, and how many each has."""

    numbers: "np.ndarray[tuple[int], np.dtype[np.int32]]"
    lengths: "np.ndarray[tuple[int], np.dtype[np.int32]]"


def write_articles(folder: Path, articles: Iterable[Article], vocabulary: Vocabulary) -> tuple[int, int]:
    """Write articles to a folder, a batch in memory at a time; how many they were, and how many sentences.

    A sentence is read under its title, as ParlAI shows candidates ("title __knowledge__ sentence"): the words of the
    title count in each, and an article is the sum of its sentences.
    """
    count = sentences = 0
    with pa.OSFile(str(folder / _FILE), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        for batch in _batches(articles):
            words = []
            for article in batch:
                title = vocabulary(article.title or "")
                words.append([title + vocabulary(sentence) for sentence in article.sentences])
            columns = [[a.title for a in batch], [a.source for a in batch], [a.sentences for a in batch], words]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
            count, sentences = count + len(batch), sentences + sum(len(a.sentences) for a in batch)
    return count, sentences


def _batches(articles: Iterable[Article]) -> Iterator[list[Article]]:
    batch: list[Article] = []
    waiting = 0
    for article in articles:
        batch.append(article)
        waiting += len(article.sentences)
        if waiting >= _BATCH:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


class Articles:
    """Articles by their number, read when they are asked for. Raises OSError or pa.ArrowInvalid for a broken file."""

    def __init__(self, folder: Path) -> None:
        self.batches: list[pa.RecordBatch] = (
            pa.ipc.open_stream(pa.memory_map(str(folder / _FILE))).read_all().to_batches()
        )
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self.batches)]).tolist()
        lengths = [batch.column("sentences").value_lengths().to_numpy() for batch in self.batches]
        self.first = np.concatenate([[0], *lengths]).astype(np.int64).cumsum()  # sentence of each article, and the end

    def __len__(self) -> int:
        return len(self.first) - 1

    def title(self, article: int) -> str | None:
        title: str | None = self._value(article, "title").as_py()
        return title

    def source(self, article: int) -> str:
        return str(self._value(article, "source").as_py())

    def sentences(self, article: int) -> list[str]:
        sentences: list[str] = self._value(article, "sentences").as_py()
        return sentences

    def words(self, article: int) -> Words:
        return words_of(self._value(article, "words").values)

    def _value(self, article: int, column: str) -> pa.Scalar:
        batch = bisect_right(self._starts, article) - 1
        return self.batches[batch].column(column)[article - self._starts[batch]]


def words_of(sentences: pa.ListArray) -> Words:
    """The words of sentences that stand one behind the other."""
    return Words(sentences.flatten().to_numpy(), sentences.value_lengths().to_numpy())
