"""Finds accepted answers in a text: whole words, in order, whatever the spelling of numbers, dates and initials.

A text is read as tokens: words, and marks where a clause or a sentence ends. Where an accepted answer stands, its
tokens are replaced by one that says so, and later steps look only at that.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations

from wikillama.evaluation.judging.text import plain
from wikillama.evaluation.metrics import content_words, normalize_answer

CLAUSE, SENTENCE, QUESTION = "¦", "¶", "¿"  # marks, which normalization leaves alone
_LETTER_A = "ᴀ"  # "vitamin A" and "grade A", where normalization would drop an article
_POINT = "·"  # of decimals, so that "3.5" stays one word

_UP_TO_NINETEEN = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_NTHS = """
0th first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth
"""
_MONTH_NAMES = "january february march april may june july august september october november december"
_TENS_NAMES = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * n for n, word in enumerate(_TENS_NAMES.split(), start=2)}
_VALUES = {word: n for n, word in enumerate(_UP_TO_NINETEEN.split())} | _TENS
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9, "trillion": 10**12}
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_ORDINALS = {word: f"{n}{_ENDINGS.get(n, 'th')}" for n, word in enumerate(_NTHS.split())}
_MONTHS = frozenset(_MONTH_NAMES.split())

# In order: initials become one word, as do abbreviations and numbers; then ends of sentences and clauses are marked.
_INITIALS = re.compile(r"\b(?:[A-Za-z]\.\s?){2,}")
_REWRITES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\b[B-HJ-Z](?: [B-HJ-Z]\b)+"), lambda m: m[0].replace(" ", "")),
    (re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Mt|Jr|Sr|vs|approx|ca|[A-Z])\.(?=\s)"), r"\1"),
    (re.compile(r"(?<=[A-Za-z])\s?/\s?(?=[A-Za-z])"), " or "),
    (re.compile(r"(?<=\d),(?=\d{3}\b)"), ""),
    (re.compile(r"(?<=\d)\.(?=\d)"), _POINT),
    (re.compile(r"(?<=[\w,] )A\b|^A(?=\W*$)"), _LETTER_A),
    (re.compile(r"[.!]*\?[.!?]*"), f" {QUESTION} "),
    (re.compile(r"[.!]+(?=[\s\"')]|$)|\n"), f" {SENTENCE} "),
    (re.compile(r"[,;:](?!\d)|\s-+\s|--+|[()]"), f" {CLAUSE} "),
]


def tokens(text: str) -> list[str]:
    """Normalized words and marks; numbers as digits ("twenty-one" and "21", "1.4 million" and "1,400,000")."""
    text = re.sub("[\u2013\u2014]", " - ", text)  # dashes part clauses, hyphens do not
    text = _INITIALS.sub(_joined, plain(text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return _day_numbers(_digits(normalize_answer(text).split()))


def bare_tokens(text: str) -> list[str]:
    """The tokens without marks."""
    return [token for token in tokens(text) if token not in (CLAUSE, SENTENCE, QUESTION)]


def find(text: Sequence[str], keys: Iterable[str]) -> list[tuple[int, int]]:
    """Where the tokens of a key stand in `text`, longest keys first, without overlaps: (start, end) pairs."""
    taken: list[tuple[int, int]] = []
    variants = {order for key in keys for order in _orders(bare_tokens(key))}
    for wanted in sorted(variants, key=lambda v: (-len(v), v)):
        for start in range(len(text)):
            end = _end_of_match(text, start, wanted)
            if end is not None and all(end <= s or start >= e for s, e in taken):
                taken.append((start, end))
    return sorted(taken)


def replace(text: str, keys: Mapping[str, Sequence[str]]) -> list[str]:
    """The tokens of a text with the keys of each name replaced by that name (upper case, as no token else is).

    Keys that are function words, such as "US" and "The Who", count only where their case agrees: among lower-case
    words they could not be told from "us" and "who".
    """
    text = _INITIALS.sub(_joined, text)
    cased = {name: [k.strip() for k in group if _is_cased(k)] for name, group in keys.items()}
    for name, surfaces in cased.items():
        for key in surfaces:
            text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", f" {_held(name)} ", text)
    found = tokens(text)
    for name, group in keys.items():
        spans = find(found, [k for k in group if k.strip() not in cased[name]])
        for start, end in reversed(spans):
            found[start:end] = [name]
    held = {_held(name): name for name in keys}
    return [held.get(token, token) for token in found]


def _joined(initials: re.Match[str]) -> str:
    return re.sub(r"[.\s]", "", initials[0]) + " "


def _held(name: str) -> str:
    return f"qq{name.lower()}qq"


def _is_cased(key: str) -> bool:
    return not content_words(plain(key)) and any(c.isupper() for c in key)


def _orders(key: list[str]) -> list[tuple[str, ...]]:
    """A date in any order of its parts; anything else as it is."""
    if 2 <= len(key) <= 3 and _MONTHS & set(key):
        return list(permutations(key))
    return [tuple(key)] if key else []


def _end_of_match(text: Sequence[str], start: int, wanted: tuple[str, ...]) -> int | None:
    place = start
    for n, word in enumerate(wanted):
        while n and place < len(text) and (text[place] == CLAUSE or (text[place] == "of" and _MONTHS & set(wanted))):
            place += 1
        if place >= len(text) or _singular(text[place]) != _singular(word):
            return None
        place += 1
    return place


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _digits(text: list[str]) -> list[str]:
    """Number words as digits. "one" stays a word unless a larger number follows from it ("one hundred")."""
    out: list[str] = []
    place = 0
    while place < len(text):
        value, after = _number(text, place)
        if value is None:
            out.append(_ORDINALS.get(text[place], text[place]))
            after = place + 1
        else:
            out.append(f"{value:.10g}".replace(".", _POINT) if value % 1 else f"{value:.0f}")
        place = after
    return out


def _number(text: list[str], start: int) -> tuple[float | None, int]:
    """The number that begins at `start`, and the place after it.

    None for digits alone, which stay as they are written ("007").
    """
    total, current, room, place = 0.0, 0.0, math.inf, start
    while place < len(text):
        word = text[place]
        if word == "and" and room in (100, 1000) and place + 1 < len(text) and text[place + 1] in _VALUES:
            place += 1
        elif word in _SCALES and place > start:
            scale = _SCALES[word]
            if scale == 100:
                current, room = current * scale, 100
            else:
                total, current, room = total + current * scale, 0.0, 1000
            place += 1
        elif word in _VALUES and _VALUES[word] < room:
            current, room, place = current + _VALUES[word], 10 if word in _TENS else 1, place + 1
        elif place == start and re.fullmatch(rf"\d+({_POINT}\d+)?", word):
            current, room, place = float(word.replace(_POINT, ".")), 1, place + 1
        else:
            break
    alone = place == start + 1 and (text[start] == "one" or text[start] not in _VALUES)
    return (None, start) if place == start or alone else (total + current, place)


def _day_numbers(text: list[str]) -> list[str]:
    """ "29th of June" as "29 of june"."""
    return [
        word[:-2]
        if re.fullmatch(r"\d+(st|nd|rd|th)", word) and _MONTHS & set(text[max(place - 2, 0) : place + 3])
        else word
        for place, word in enumerate(text)
    ]
