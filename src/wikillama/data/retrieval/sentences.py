"""Splits free text into sentences by rules, for text that is mostly English prose."""

import re

_CLOSING = "\"'”’»)]"  # noqa: RUF001
_OPENING = "\"'“‘«(["  # noqa: RUF001
_END = re.compile(rf"[.!?…]+[{re.escape(_CLOSING)}]*(?=\s)|[。！？]+[”’」』）]*")  # noqa: RUF001
_LONGEST = 120  # words of a sentence; what is longer, such as a table without a full stop, is cut
_NEAR = 40  # characters around a full stop that tell whether it ends a sentence
_WRAPPED = 120  # characters of the longest line of a text whose lines are wrapped

_TITLES = "mr mrs ms dr prof st mt ft gen col lt sgt capt cmdr maj rev hon gov sen rep pres fr messrs"
_WITHIN = "vs cf viz approx ca eg ie e.g i.e"
_NUMBERED = "no nos vol vols p pp ch sec fig figs art eq jan feb mar apr jun jul aug sep sept oct nov dec"
_SUFFIXES = "inc ltd co corp etc jr sr al bros dept univ assn"
_OPENERS = """
    the a an this that these those he she it they we you i his her its their our my there here in on at by for from
    with as but and or so if when while where after before since during although however because some many most both
    all each one another other today later now then what who how why is are was were
"""
_NEVER_LAST = frozenset(f"{_TITLES} {_WITHIN}".split())  # a sentence goes on after these
_BEFORE_FIGURES = frozenset(_NUMBERED.split())  # these are abbreviations where a figure follows
_EITHER = frozenset(_SUFFIXES.split())  # these may end a sentence or stand within it: the next word tells
_STARTERS = frozenset(_OPENERS.split())


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order, white space made single spaces.

    Blank lines part sentences, and so do line breaks, unless all lines are short, as in text wrapped at a width. A full
    stop does not end a sentence after titles ("Dr."), within abbreviations, numbers and initials, or before a small
    letter.
    """
    lines = text.splitlines()
    wrapped = max(map(len, lines), default=0) <= _WRAPPED
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text) if wrapped else lines:
        found.extend(_of_paragraph(" ".join(paragraph.split())))
    return found


def _of_paragraph(text: str) -> list[str]:
    found, start = [], 0
    for end in _END.finditer(text):
        if _ends(text[max(start, end.start() - _NEAR) : end.start()], end.group(), text[end.end() : end.end() + _NEAR]):
            found.append(text[start : end.end()])
            start = end.end()
    found.append(text[start:])
    return [piece for sentence in map(str.strip, found) for piece in _cut(sentence)]


def _ends(before: str, mark: str, after: str) -> bool:
    """Whether a sentence ends with `mark`, by the text around it."""
    following = after.strip().lstrip(_OPENING)
    if not following or mark[0] in "。！？":  # noqa: RUF001
        return True
    if following[0].islower():
        return False
    if mark.rstrip(_CLOSING) != ".":
        return True
    words = before.split()
    last = words[-1].lstrip(_OPENING) if words else ""
    if last.lower() in _NEVER_LAST:
        return False
    if last.lower() in _BEFORE_FIGURES and following[:1].isdigit():
        return False
    if "." in last or (len(last) == 1 and last.isalpha()) or last.lower() in _EITHER:
        return re.split(r"\W", following, maxsplit=1)[0].lower() in _STARTERS
    return True


def _cut(sentence: str) -> list[str]:
    if sentence.count(" ") < _LONGEST:
        return [sentence] if sentence else []
    words = sentence.split()
    return [" ".join(words[at : at + _LONGEST]) for at in range(0, len(words), _LONGEST)]
