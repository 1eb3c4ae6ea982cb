"""Word overlap as ParlAI computes it: worked vectors, recomputed from its code."""

import string

import pytest
from rouge_score.rouge_scorer import RougeScorer

from wikillama.errors import InputError
from wikillama.evaluation.metrics import (
    PrecRecF1,
    RareWords,
    best_prec_rec_f1,
    bleu4,
    content_words,
    distinct,
    f1,
    knowledge_f1_parlai,
    knowledge_overlap,
    normalize_answer,
    prec_rec_f1,
    rare_f1,
    rare_words,
    relevance,
    rouge_l,
    rouge_l_recall,
)

PREDICTION = "I love gardening, it is considered a relaxing activity."
GOLD = "I live on a farm, we garden all year long, it is very relaxing."
KNOWLEDGE = "Gardening is considered by many people to be a relaxing activity."
COPY = "gardening is considered a relaxing activity by many people"


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


def test_precision_recall_and_f1_may_come_from_different_references() -> None:
    references = ["cats", "cats purr loudly at night often yes"]
    assert best_prec_rec_f1("cats purr loudly", references) == pytest.approx((1.0, 1.0, 0.6))


def test_knowledge_overlap_counts_knowledge_turns_only() -> None:
    assert knowledge_overlap(PREDICTION, (KNOWLEDGE,)) == pytest.approx((0.625, 0.5, 0.5555556), abs=1e-7)
    assert knowledge_overlap("dogs bark", ("Dogs bark.", "Cats purr.")) == PrecRecF1(1.0, 0.5, 2 / 3)
    assert knowledge_overlap(PREDICTION, None) is None
    assert knowledge_overlap(PREDICTION, ()) is None


def test_parlai_counts_turns_without_knowledge_too() -> None:
    for none in (None, ()):
        assert knowledge_f1_parlai("no i have never used it", none) == pytest.approx(4 / 9)
        assert knowledge_f1_parlai("Dogs bark.", none) == 0
    assert knowledge_f1_parlai(PREDICTION, (KNOWLEDGE,)) == pytest.approx(0.5555556, abs=1e-7)


CORPUS = ["i like dogs .", "i like cats .", "i like the blue whale .", "dogs like i"]


def test_rare_words_occur_less_often_than_the_one_that_passes_half() -> None:
    rare = rare_words(CORPUS)  # i 4, like 4, dogs 2, cats 1, blue 1, whale 1: 4 + 4 pass half of 13
    assert (rare.cutoff, rare.frequencies["i"], rare.frequencies["whale"]) == (4, 4, 1)
    assert "the" not in rare.frequencies
    assert rare_words([" ".join(CORPUS)]) == rare
    with pytest.raises(InputError, match="holds no word"):
        rare_words(["the", "..."])


@pytest.mark.parametrize(
    ("guess", "references", "dropped", "kept"),
    [
        ("I like the blue whale a lot", ["i like blue whale songs"], 1.0, 2 / 3),  # "lot" and "songs" are unseen
        ("I like dogs", ["i like i like"], None, None),
        ("I like dogs", ["songs"], None, 0.0),
        ("I like dogs", ["i like i like", "dogs"], 1.0, 1.0),
        ("I like it", ["dogs"], 0.0, 0.0),
    ],
)
def test_rare_f1_in_both_versions(guess: str, references: list[str], dropped: float | None, kept: float | None) -> None:
    rare: RareWords = rare_words(CORPUS)
    assert rare_f1(guess, references, rare) == (dropped and pytest.approx(dropped))
    assert rare_f1(guess, references, rare, unseen="keep") == (kept and pytest.approx(kept))


def test_bleu4_collapses_where_an_order_has_no_match() -> None:
    assert bleu4(COPY, [KNOWLEDGE]) == pytest.approx(0.000364, abs=5e-7)
    assert bleu4(KNOWLEDGE, [KNOWLEDGE]) == pytest.approx(1.0)
    assert bleu4("cats", [KNOWLEDGE]) == 0
    assert bleu4("", [KNOWLEDGE]) == 0
    assert bleu4(KNOWLEDGE, ["cats purr", KNOWLEDGE]) == pytest.approx(1.0)


def test_rouge_l() -> None:
    assert rouge_l(PREDICTION, [GOLD]) == pytest.approx(0.3478, abs=5e-5)
    assert rouge_l(COPY, [KNOWLEDGE]) == pytest.approx(0.6)
    assert rouge_l(COPY, [GOLD, KNOWLEDGE]) == pytest.approx(0.6)
    assert rouge_l("", [GOLD]) == 0


def test_rouge_l_recall_is_of_normalized_stems() -> None:
    # i, garden, it, is, relax of the reference's 13 words: two of them are stems, and "a" is no word
    assert rouge_l_recall(PREDICTION, [GOLD]) == pytest.approx(5 / 13)
    assert rouge_l_recall("The dog runs", ["A dog running home"]) == pytest.approx(2 / 3)
    assert rouge_l_recall("it was", ["was it", "wa"]) == 0.5  # no stem of three letters
    assert rouge_l_recall("dogs and cats", ["cats and dogs", "dogs"]) == 1.0


def test_stems_are_rouge_score_s() -> None:
    texts = (PREDICTION, GOLD, KNOWLEDGE, "The U.S.A.'s 3,500 miles of naïve cafés: ponies, relational, generously")
    theirs = RougeScorer(["rougeL"], use_stemmer=True)
    for reply in texts:
        for reference in texts:
            expected = theirs.score(normalize_answer(reference), normalize_answer(reply))["rougeL"].recall
            assert rouge_l_recall(reply, [reference]) == expected


def test_distinct_n() -> None:
    replies = ["i love dogs", "i love cats", "i love dogs"]
    assert distinct(replies, 1) == pytest.approx((1.0, 4 / 9))
    assert distinct(replies, 2) == pytest.approx((1.0, 3 / 6))
    assert distinct(["dogs dogs dogs and dogs"], 1) == pytest.approx((0.4, 0.4))
    assert distinct(["dogs", "i love dogs"], 2) == (0.5, 1.0)  # a single word has no pair
    assert distinct([""], 1) == (0.0, 0.0)


def test_content_words_are_what_function_words_and_contractions_leave() -> None:
    assert content_words("I don't think we'll see the Blue Whale, it's 30 m long!") == {
        *("think", "see", "blue", "whale", "30", "long")
    }
    assert content_words("Yes, I am. And you?") == set()


def test_relevance_is_the_share_of_content_words_that_the_context_holds() -> None:
    context = ("Do you like gardening?", "Gardening is a relaxing hobby.")
    assert relevance("I find gardening relaxing and cheap.", context) == pytest.approx(2 / 4)  # not find, not cheap
    assert relevance("Yes, I do!", context) == 0
    assert relevance("Gardening, gardening", context) == 1
    assert relevance("Gardening", ("Hi!", "And you?")) is None
    assert relevance("Gardening", ()) is None
