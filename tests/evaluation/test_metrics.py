"""Word overlap as ParlAI computes it: worked vectors, recomputed from its code."""

import string

import pytest

from wikillama.evaluation.metrics import f1, normalize_answer, prec_rec_f1

PREDICTION = "I love gardening, it is considered a relaxing activity."
GOLD = "I live on a farm, we garden all year long, it is very relaxing."
KNOWLEDGE = "Gardening is considered by many people to be a relaxing activity."


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("don't stop", "don t stop"),
        ("U.S.A.", "u s"),  # the lone "a" is an article
        ("state-of-the-art", "state of art"),
        ("3,500 miles", "3 500 miles"),
        ("no_passages_used", "no passages used"),
        ("“smart” quotes — naïve café", "“smart” quotes — naïve café"),  # ASCII punctuation only
        ("A", ""),
        ("", ""),
        ("  An\tapple,\nthe THEATER  ", "apple theater"),
        ("Answer another", "answer another"),
    ],
)
def test_normalize_answer(text: str, normalized: str) -> None:
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize("character", string.punctuation)
def test_punctuation_becomes_a_space(character: str) -> None:
    assert normalize_answer(f"tea{character}pot") == "tea pot"


@pytest.mark.parametrize(
    ("guess", "reference", "expected"),
    [
        (PREDICTION, GOLD, (0.5, 0.3076923, 0.3809524)),
        (PREDICTION, KNOWLEDGE, (0.625, 0.5, 0.5555556)),
        (GOLD, KNOWLEDGE, (0.1538462, 0.2, 0.1739130)),
        ("the the dog dog dog", "dog runs dog", (2 / 3, 2 / 3, 2 / 3)),  # no articles, and clipped at two dogs
        ("no i have never used it", "no_passages_used", (1 / 3, 2 / 3, 0.4444444)),  # ParlAI's trap in knowledge-F1
        ("cats purr loudly", "cats", (1 / 3, 1.0, 0.5)),
        ("cats purr loudly", "cats purr loudly at night often yes", (1.0, 3 / 7, 0.6)),
        ("same words", "Same words!", (1.0, 1.0, 1.0)),
        ("", "", (0.0, 0.0, 0.0)),  # where SQuAD gives 1
        ("", "tea", (0.0, 0.0, 0.0)),
        ("tea", "", (0.0, 0.0, 0.0)),
        ("the", "a", (0.0, 0.0, 0.0)),
        ("tea", "coffee", (0.0, 0.0, 0.0)),
    ],
)
def test_precision_recall_and_f1(guess: str, reference: str, expected: tuple[float, float, float]) -> None:
    assert prec_rec_f1(guess, reference) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("guess", "references", "expected"),
    [
        ("cats purr loudly", ["cats", "cats purr loudly at night often yes"], 0.6),
        (PREDICTION, [GOLD, KNOWLEDGE], 0.5555556),
        (PREDICTION, [GOLD], 0.3809524),
        ("dogs", ["cats", ""], 0.0),
    ],
)
def test_f1_is_that_of_the_best_reference(guess: str, references: list[str], expected: float) -> None:
    assert f1(guess, references) == pytest.approx(expected, abs=1e-7)
    assert f1(guess, references[::-1]) == f1(guess, references)
