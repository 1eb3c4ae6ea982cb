"""Looks sentences up in an index: articles first, then the sentences within the best of them, as the Wizard of
Wikipedia's collection did (Dinan et al. 2019, section 4.1).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wikillama.config.schema import RetrieverConfig
from wikillama.data.dialogue import Sentence
from wikillama.data.retrieval.articles import Articles, Words
from wikillama.data.retrieval.dense import Dense
from wikillama.data.retrieval.encoder import SentenceEncoder
from wikillama.data.retrieval.lexical import Lexical, Scores
from wikillama.data.retrieval.words import Vocabulary

_TOLD = 0.8  # of its score a used sentence keeps: Wizards seldom use one twice, but in a tenth of their turns they do


class Found(NamedTuple):
    """A sentence, the title of its article (its source, where it has none), where that is from, and its score.

    Scores compare within one search: BM25, a cosine, or of both a weighted sum.
    """

    sentence: Sentence
    article: str
    source: str
    score: float


@dataclass(slots=True)
class IndexFacts:
    """What an index holds. `files` are its files with their sizes in bytes."""

    articles: int = 0
    sentences: int = 0
    words: int = 0  # distinct stems
    bad_rows: int = 0
    bad_row: str = ""  # the first of them
    seconds: float = 0.0
    files: dict[str, int] = field(default_factory=dict)

    @property
    def megabytes(self) -> float:
        return sum(self.files.values()) / 1e6


def query_text(topic: str | None, turns: Sequence[str]) -> str:
    """What sentences are looked up for: the last two turns, and the topic or where there is none the opening turn.

    The last turn stands first: encoders give beginnings more weight, and recall@1 of hybrid rises by a hundredth. To
    count its words twice helps neither: BM25's recall@5 falls by three hundredths.
    """
    opening = turns[0] if len(turns) > 2 else ""
    return " ".join(part for part in (*turns[-1:], topic or opening, *turns[-2:-1]) if part)


class Index:
    """An index on disk, memory-mapped, and how it is searched. `build.open_index` makes and opens it."""

    def __init__(
        self, folder: Path, facts: IndexFacts, config: RetrieverConfig, encoder: SentenceEncoder | None
    ) -> None:
        self.folder, self.facts = folder, facts
        self._kind, self._at_least, self._dense_weight = config.kind, config.articles, config.dense_weight
        self._articles, self._lexical = Articles(folder), Lexical(folder)
        self._vocabulary = Vocabulary(self._lexical.numbers)
        self._dense = Dense(folder, encoder) if encoder is not None else None

    def search(self, topic: str | None, turns: Sequence[str], k: int, told: Collection[str] = ()) -> list[Found]:
        """The k best sentences for what is to be said next, best first; fewer where fewer have to do with the query.

        turns: the conversation so far, oldest first, of speakers who take turns. told: the sentences that are known to
        have been used in it; they lose a fifth of their scores. With BM25 and hybrid a sentence also loses by the
        square of the share of its words that the one who speaks next has said in one turn.
        """
        text = query_text(topic, turns)
        if not text:
            return []
        query = self._vocabulary(text) if self._kind != "dense" else None
        vector = self._dense.query(text) if self._dense is not None else None
        articles = self._best_articles(query, vector, max(self._at_least, k))
        if not articles:
            return []
        words = [self._articles.words(article) for article in articles]
        together = Words(*(np.concatenate(parts) for parts in zip(*words, strict=True)))
        scores = self._fused(
            None if query is None else self._lexical.sentences(query, together),
            None if vector is None or self._dense is None else self._dense.sentences(vector, self._spans(articles)),
        )
        if self._kind != "dense":
            own = [self._vocabulary(turn) for turn in turns[-2::-2]]
            scores = scores * (1 - self._lexical.told(own, together) ** 2)
        return self._found(articles, scores, told, k)

    def _best_articles(self, query: list[int] | None, vector: Scores | None, count: int) -> list[int]:
        scores = self._fused(
            None if query is None else self._lexical.articles(query),
            None if vector is None or self._dense is None else self._dense.articles(vector),
        )
        best = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(len(scores))
        best = best[scores[best] > 0]
        ordered: list[int] = best[np.lexsort((best, -scores[best]))].tolist()
        return ordered

    def _fused(self, lexical: Scores | None, near: Scores | None) -> Scores:
        """BM25, the cosine, or where there are both, their weighted sum, each brought to 0..1.

        A convex combination, with the least that a score can be as zero (Bruch, Gai and Ingber 2023, arXiv:2210.11934,
        who find it better than reciprocal rank fusion). Below zero a cosine says no more than zero.
        """
        if lexical is None or near is None:
            scores = near if lexical is None else lexical
            assert scores is not None  # every kind has one of them
            return scores
        share = lexical / max(float(lexical.max(initial=0)), float(np.finfo(np.float32).tiny))
        return self._dense_weight * np.maximum(near, 0) + (1 - self._dense_weight) * share

    def _spans(self, articles: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The numbers of the first sentence of articles, and of the one after the last."""
        return ((int(self._articles.first[article]), int(self._articles.first[article + 1])) for article in articles)

    def _found(self, articles: Sequence[int], scores: Scores, told: Collection[str], k: int) -> list[Found]:
        candidates = [(article, text) for article in articles for text in self._articles.sentences(article)]
        used = {text.strip() for text in told}
        scores = scores * np.array([_TOLD if text in used else 1.0 for _, text in candidates], dtype=np.float32)
        best = [place for place in np.argsort(-scores, kind="stable") if scores[place] > 0][:k]
        found = []
        for article, text, score in ((*candidates[place], float(scores[place])) for place in best):
            title, source = self._articles.title(article), self._articles.source(article)
            found.append(Found(Sentence(title, text), title or source, source, score))
        return found
