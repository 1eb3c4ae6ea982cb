"""Words as judges compare them: ParlAI's normalization after accents and typographic signs are made plain."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from wikillama.evaluation.metrics import normalize_answer

# single and double quotes, en and em dash, ellipsis
_PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "."}
)
_STEM = 4  # letters that two forms of a word share at least


def plain(text: str) -> str:
    """The text without accents, with ASCII quotes and dashes."""
    if text.isascii():  # most are, and the rest takes ten times as long
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words(text: str) -> list[str]:
    """Normalized words, in order, with repetitions."""
    return normalize_answer(plain(text)).split()


def shared(said: Sequence[str], given: Iterable[str]) -> list[bool]:
    """For each word said, whether it is among the words given; each given word counts once.

    Equal words are paired first. Then words of the same beginning are, if they share at least four letters and half of
    the longer one, as forms of a word do ("populated", "populous"); words with digits have to be equal.
    """
    left = Counter(given)
    found = [False] * len(said)
    for place, word in enumerate(said):
        if left[word] > 0:
            left[word] -= 1
            found[place] = True
    forms: dict[str, list[str]] = {}
    for word, count in left.items():
        if count > 0 and len(word) >= _STEM and word.isalpha():
            forms.setdefault(word[:_STEM], []).extend([word] * count)
    for place, word in enumerate(said):
        if not found[place] and word.isalpha():
            candidates = forms.get(word[:_STEM], [])
            match = next((w for w in candidates if 2 * _common_prefix(w, word) >= max(len(w), len(word))), None)
            if match is not None:
                candidates.remove(match)
                found[place] = True
    return found


def _common_prefix(first: str, second: str) -> int:
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))
