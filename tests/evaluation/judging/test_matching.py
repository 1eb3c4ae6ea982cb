"""Words and accepted wordings, found whatever their spelling."""

import pytest

from wikillama.evaluation.judging.matching import bare_tokens, find, replace, tokens
from wikillama.evaluation.judging.text import plain, shared, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("twenty-one men", "21 men"),
        ("1.4 million", "1400000"),
        ("1,400,000", "1400000"),
        ("two hundred and fifty thousand", "250000"),
        ("one thousand two hundred thirty-four", "1234"),
        ("one of them, one hundred", "one of them ¦ 100"),
        ("two and three", "2 and 3"),
        ("3.5 and 007", "3·5 and 007"),
        ("the nineteenth century", "19th century"),
        ("the 29th of June", "29 of june"),
        ("the 4th try", "4th try"),
        ("J. K. Rowling of the U.S.A.", "jk rowling of usa"),
        ("Dr. King (not him).", "dr king ¦ not him ¦ ¶"),
        ("It wasn't Monet\u2014it was Dal\u00ed! Really?", "it wasn t monet ¦ it was dali ¶ really ¿"),
        ("vitamin A", "vitamin ᴀ"),
        ("a vitamin", "vitamin"),
        ("AC/DC", "ac or dc"),
        ("", ""),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    assert " ".join(tokens(text)) == expected
    assert bare_tokens(text) == [t for t in expected.split() if t not in "¦¶¿"]


@pytest.mark.parametrize(
    ("text", "keys", "spans"),
    [
        ("it was June 29, 2007", ["June 29, 2007"], [(2, 6)]),  # the mark of the comma is inside
        ("on 29 June 2007", ["June 29, 2007"], [(1, 4)]),
        ("in 2007, June", ["29 June"], []),
        ("apples and apple pie", ["apple"], [(0, 1), (2, 3)]),
        ("glass", ["glas"], []),
        ("new york city or york", ["york", "new york"], [(0, 2), (4, 5)]),  # the longest first
        ("Niger. Nigeria", ["niger"], [(0, 1)]),
        ("nothing", ["", "the"], []),
        ("end. Of it", ["end of"], []),  # not across sentences
    ],
)
def test_find(text: str, keys: list[str], spans: list[tuple[int, int]]) -> None:
    assert find(tokens(text), keys) == spans


def test_keys_are_replaced_in_the_order_of_their_names() -> None:
    keys = {"BAD": ["green tea"], "KEY": ["tea"], "ALSO": ["milk"]}
    assert replace("Tea, green tea and milk", keys) == ["KEY", "¦", "BAD", "and", "ALSO"]


def test_function_words_count_by_case() -> None:
    assert replace("They told us that the US won, not who", {"KEY": ["US", "The Who"]}) == [
        "they", "told", "us", "that", "KEY", "won", "¦", "not", "who"
    ]  # fmt: skip
    assert replace("The Who played", {"KEY": ["The Who"]}) == ["KEY", "played"]


def test_plain_text() -> None:
    assert plain("\u201cDal\u00ed\u2019s\u201d \u2013 na\u00efve\u2026") == '"Dali\'s" - naive.'
    assert words("Dal\u00ed\u2019s na\u00efve art") == ["dali", "s", "naive", "art"]


@pytest.mark.parametrize(
    ("said", "given", "found"),
    [
        ("cats purr", "cats sleep", [True, False]),
        ("cats cats", "cats", [True, False]),  # each word supports one
        ("populated", "populous", [True]),
        ("relaxing", "relax", [True]),
        ("intern", "international", [False]),  # less than half of the longer word
        ("cat", "cats", [False]),  # too short to be told from other words
        ("1990s", "1990", [False]),
        ("form formed", "formed", [False, True]),  # equal words go first
    ],
)
def test_shared_words(said: str, given: str, found: list[bool]) -> None:
    assert shared(said.split(), given.split()) == found
