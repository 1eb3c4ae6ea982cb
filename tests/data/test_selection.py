"""BM25: a worked example, its properties, and ties."""

import math

import pytest

from wikillama.data import selection
from wikillama.data.selection import rank

TEA = ["Tea is hot.", "Coffee is hot, and is black.", "Tea, tea, tea!", "Milk is white."]


def test_a_worked_example() -> None:
    """Mean length 15/4. "tea": in 2 of 4, idf ln 2 = 0.69; "black": in 1 of 4, idf ln(1 + 3.5/1.5) = 1.20.

    Text 0: 0.69 * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / 3.75)) = 0.76; text 2: 0.69 * 3 * 2.5 / (3 + 1.275) = 1.22;
    text 1: 1.20 * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 6 / 3.75)) = 0.95, so that it stands between them.
    """
    idf_tea, idf_black = math.log(2), math.log(1 + 3.5 / 1.5)
    scores = [
        idf_tea * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / 3.75)),
        idf_black * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 6 / 3.75)),
        idf_tea * 3 * 2.5 / (3 + 1.5 * (0.25 + 0.75 * 3 / 3.75)),
        0.0,
    ]
    assert [round(score, 2) for score in scores] == [0.76, 0.95, 1.22, 0.0]
    assert rank("Black TEA?", TEA) == sorted(range(4), key=lambda place: -scores[place]) == [2, 1, 0, 3]


@pytest.mark.parametrize(("constant", "order"), [("_B", [1, 2, 0, 3]), ("_K1", [1, 0, 2, 3])])
def test_what_the_constants_are_for(monkeypatch: pytest.MonkeyPatch, constant: str, order: list[int]) -> None:
    """Without lengths (b = 0) the long text with the rare word wins; without counts (k1 = 0) three teas are one."""
    monkeypatch.setattr(selection, constant, 0.0)
    assert rank("Black tea?", TEA) == order


def test_a_shorter_text_wins_and_a_longer_one_that_repeats_the_word_does_not_win_without_end() -> None:
    assert rank("tea", ["tea and a lot of other things", "tea and milk"]) == [1, 0]
    both, repeated = "tea and milk with more", "tea tea tea tea tea"  # of the same length
    assert rank("tea milk", [repeated, both]) == [1, 0]


def test_case_and_punctuation_do_not_matter_and_a_word_asked_twice_counts_once() -> None:
    texts = ["Coffee", "MILK!", "tea"]
    assert rank("(Milk)", texts)[0] == 1
    assert rank("tea tea tea coffee", ["coffee", "tea"]) == [0, 1]  # a tie


@pytest.mark.parametrize("query", ["", "?!", "nothing of that"])
def test_ties_stay_in_the_given_order(query: str) -> None:
    assert rank(query, ["c", "a", "b"]) == [0, 1, 2]


def test_nothing_to_rank() -> None:
    assert rank("tea", []) == []
    assert rank("tea", ["", "?", "tea"]) == [2, 0, 1]
    assert rank("tea", ["", ""]) == [0, 1]
