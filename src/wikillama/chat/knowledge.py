"""What a reply is given to stand on, and which of it the reply used."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from wikillama.data.dialogue import Sentence
from wikillama.data.retrieval.index import Index
from wikillama.data.retrieval.sentences import split_sentences
from wikillama.data.selection import rank
from wikillama.errors import InputError
from wikillama.evaluation.judging.text import shared, words
from wikillama.evaluation.metrics import content_words

Mode = Literal["off", "retrieved", "mine"]
MODES: tuple[Mode, ...] = ("off", "retrieved", "mine")
PASTED = 20_000  # characters of one's own knowledge
_PASTED_FROM = "pasted"
_LEAST_NEW, _LEAST_SHARE = 2, 0.25  # words that only a used sentence explains, and their share of the reply's


@dataclass(frozen=True, slots=True)
class Source:
    """A sentence that a reply was given, where it is from, and whether the reply used it."""

    sentence: Sentence
    place: str
    used: bool = False


class Knowledge:
    """Sentences for replies: looked up in an index, which is opened when it is first needed, or pasted."""

    def __init__(self, opens: Callable[[], Index], k: int) -> None:
        self._opens, self._k = opens, k
        self._index: Index | None = None
        self._lock = threading.Lock()

    def index(self) -> Index:
        """Raises InputError where it cannot be made."""
        with self._lock:
            if self._index is None:
                self._index = self._opens()
            return self._index

    def sources(
        self, mode: Mode, topic: str | None, turns: Sequence[str], told: Sequence[str], pasted: str = ""
    ) -> list[Source]:
        """At most k sentences for the reply to `turns`, oldest first, the last one the user's.

        `told` are the sentences that earlier replies used. Of pasted text all sentences are given while they are few,
        else those that have most to do with the last two turns. Raises InputError for text that is too long.
        """
        if mode == "off":
            return []
        if mode == "retrieved":
            found = self.index().search(topic or None, turns, self._k, told)
            return [Source(each.sentence, each.source) for each in found]
        if len(pasted) > PASTED:
            raise InputError(f"knowledge: {len(pasted):,} characters; paste at most {PASTED:,}")
        sentences = split_sentences(pasted)
        if len(sentences) > self._k:
            best = rank(" ".join([topic or "", *turns[-2:]]), sentences)[: self._k]
            sentences = [sentences[place] for place in sorted(best)]
        return [Source(Sentence(topic or None, text), _PASTED_FROM) for text in sentences]


def used(reply: str, sentences: Sequence[str], said_before: str = "") -> list[bool]:
    """Which sentences a reply took its words from.

    The sentence that explains most of the reply's content words counts as used, then the one that explains most of the
    rest, as long as that is two words and a quarter of all of them at least. What the user has just said explains
    itself, and numbers count twice.

    Measured on 470 turns of Wizard of Wikipedia's Test Seen (ChanLiang/CONNER) among the five sentences that BM25 finds
    for them: 88 in 100 of the sentences that people wrote their replies from count as used, and .015 others a reply; of
    a reply from elsewhere, .011.
    """
    echoed = set(words(said_before))
    said = words(reply)
    content = content_words(" ".join(said)) - echoed
    left = [word for word in said if word in content]
    enough = max(_LEAST_NEW, _LEAST_SHARE * _weight(left))
    found = [False] * len(sentences)
    given = [words(sentence) for sentence in sentences]
    while left:
        explained = [[w for w, known in zip(left, shared(left, own), strict=True) if known] for own in given]
        best = max(range(len(given)), key=lambda place: _weight(explained[place]), default=None)
        if best is None or found[best] or _weight(explained[best]) < enough:
            break
        found[best] = True
        left = [w for w, known in zip(left, shared(left, given[best]), strict=True) if not known]
    return found


def _weight(of: Sequence[str]) -> int:
    return sum(2 if any(c.isdigit() for c in word) else 1 for word in of)
