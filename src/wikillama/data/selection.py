"""Ranks the sentences that were on hand before a reply."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_K1, _B = 1.5, 0.75  # the usual constants of Okapi BM25 (Robertson and Zaragoza 2009, section 3.5)
_WORD = re.compile(r"\w+")


def rank(query: str, texts: Sequence[str]) -> list[int]:
    """The places of `texts`, best first, by Okapi BM25 with these very texts as the collection; ties in given order.

    The idf is that of Lucene, which is never negative: log(1 + (N - n + 0.5) / (n + 0.5)).
    """
    bags = [_bag(text) for text in texts]
    lengths = [sum(bag.values()) for bag in bags]
    mean = sum(lengths) / max(1, len(lengths)) or 1.0
    scores = [0.0] * len(texts)
    for word in dict.fromkeys(_WORD.findall(query.lower())):
        having = [place for place, bag in enumerate(bags) if word in bag]
        idf = math.log(1 + (len(texts) - len(having) + 0.5) / (len(having) + 0.5))
        for place in having:
            tf = bags[place][word]
            scores[place] += idf * tf * (_K1 + 1) / (tf + _K1 * (1 - _B + _B * lengths[place] / mean))
    return sorted(range(len(texts)), key=lambda place: -scores[place])


@lru_cache(maxsize=4096)  # candidates stay on hand for several turns
def _bag(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))
