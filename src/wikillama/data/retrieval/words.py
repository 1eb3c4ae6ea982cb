"""Words as the index counts them: small letters, no accents, no stop words, stems."""

import re
import unicodedata

import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS

_WORD = re.compile(r"\w+")
_STOP = frozenset(STOPWORDS_EN_PLUS)
_NONE = -1  # of words that do not count


def content_words(text: str) -> list[str]:
    """The words of a text that are no stop words, in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP]


class Vocabulary:
    """Numbers of stems, by the Snowball stemmer for English (Porter 2001, snowballstem.org).

    A new vocabulary gives each stem that it meets the next number. One made of known numbers stays as it is, and words
    that it does not know have no number.
    """

    def __init__(self, numbers: dict[str, int] | None = None) -> None:
        self.numbers: dict[str, int] = {} if numbers is None else numbers
        self._by_word = _ByWord(self.numbers, grows=numbers is None)

    def __call__(self, text: str) -> list[int]:
        """The numbers of the words of a text, in order."""
        return [number for number in map(self._by_word.__getitem__, _WORD.findall(text.lower())) if number != _NONE]


class _ByWord(dict[str, int]):
    """Numbers by word; while the vocabulary grows they are kept, for most words are met often."""

    def __init__(self, numbers: dict[str, int], grows: bool) -> None:
        super().__init__()
        self._numbers, self._grows = numbers, grows
        self._stemmer = Stemmer.Stemmer("english", 0)  # no cache of its own, which threads could not share

    def __missing__(self, word: str) -> int:
        if word in _STOP:
            number = _NONE
        else:
            stem = self._stemmer.stemWord(_plain(word))
            new = len(self._numbers)
            number = self._numbers.setdefault(stem, new) if self._grows else self._numbers.get(stem, _NONE)
        if self._grows:
            self[word] = number
        return number


def _plain(word: str) -> str:
    """The word without accents: people who type seldom set them."""
    if word.isascii():
        return word
    return "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))
