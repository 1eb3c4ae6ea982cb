"""Grounding by words: worked values, what it must and cannot see, and its measured worth on what people labelled."""

import math
import time
from pathlib import Path

import pytest

from wikillama.errors import InputError
from wikillama.evaluation.judging.groundedness import GroundednessJudge, ground, groundedness
from wikillama.evaluation.judging.labelled import read_labelled
from wikillama.evaluation.statistics import auc

CRAYOLA = "Crayola began in 1903 with eight colors, and it makes crayons, markers and paints."

# AUC that each set has to reach: measured, less some room for rounding. The first and the third are the promise.
WORTH = {
    "begin_dev_wow.tsv": 0.945,
    "begin_dev_tc.tsv": 0.93,
    "q2_dodeca_*.csv": 0.70,
    "faithdial_audit_gold_wow.csv": 0.84,
    "faithdial_audit_gpt2_wow.csv": 0.93,
    "faithdial_audit_doha_wow.csv": 0.83,
    "faithdial_audit_ctrl_wow.csv": 0.90,
    "alexa_factual_crowd_gt.csv": 0.67,
    "alexa_factual_crowd_knn.csv": 0.75,
    "alexa_factual_crowd_dpr.csv": 0.65,
    "dialfact_testsmall.jsonl": 0.77,
}


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Crayola began in 1903", 1.0),
        # 1 of 4 words lacks, "wax" is one of three claim words
        ("Crayola makes wax crayons", (math.exp(-1 / 2) + 3 / 4) / 2),
        # "i love" lacks, and is small talk: all claims are supported
        ("I love Crayola crayons", (math.exp(-2 / 2) + 1) / 2),
        # a number counts twice: 1 of 3
        ("Crayola 1904", (math.exp(-1 / math.sqrt(2)) + 1 / 3) / 2),
        # each word of the knowledge supports one: the second "crayons" lacks
        ("Crayola crayons crayons crayon", (math.exp(-2 / 2) + 2 / 4) / 2),
        ("I love it, so cool!", (math.exp(-4 / math.sqrt(5)) + 0) / 2),  # "it" is in the knowledge, nothing is claimed
        ("Bananas ripen", math.exp(-2 / math.sqrt(2)) / 2),
        ("", 0.0),
        ("?!", 0.0),
    ],
)
def test_worked_scores(reply: str, score: float) -> None:
    assert ground(reply, [CRAYOLA]).score == pytest.approx(score)


def test_unsupported_and_novel_words() -> None:
    found = ground("They sold wax pencils, wax in 1904", [CRAYOLA], ["Do they sell pencils?"])
    assert found.unsupported == ("sold", "wax", "pencils", "1904")
    assert found.novel == ("sold", "wax", "1904")


def test_better_supported_replies_score_higher() -> None:
    replies = [
        "Crayola makes crayons, markers and paints.",
        "I think that Crayola makes crayons and markers!",
        "Crayola makes crayons for kids.",
        "Crayola makes furniture for offices.",
        "My uncle drives a truck across Canada.",
    ]
    scores = groundedness(replies, [CRAYOLA] * 5)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 5
    assert all(0 <= score <= 1 for score in scores)


def test_what_it_cannot_see() -> None:
    """Word order, negation and meaning, as its documentation says."""
    knowledge = ["The dog bit the old man."]
    assert ground("The old man bit the dog.", knowledge).score == 1
    assert ground("The dog has not bit the old man.", knowledge).score > 0.6
    assert ground("An elderly gentleman was hurt by a puppy.", knowledge).score < 0.2


def test_knowledge_as_text_or_sentences() -> None:
    assert groundedness(["tea"], ["Tea is hot."]) == groundedness(["tea"], [["Tea is hot."]]) == [1.0]
    assert groundedness(["tea"], [[]]) == [0.0]
    with pytest.raises(InputError, match="2 replies but 1"):
        groundedness(["a", "b"], [["c"]])


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("Crayola began in 1903.", "correct"),
        ("Bananas ripen in Spain.", "wrong"),
        ("Crayola paints, and my whole family adores bananas from Spain", "wrong"),
        ("I love Crayola, and crayons with wax", "ambiguous"),
    ],
)
def test_judge(reply: str, label: str) -> None:
    verdict = GroundednessJudge().judge_reply([], [CRAYOLA], reply)
    assert verdict.label == label
    assert verdict.score == ground(reply, [CRAYOLA]).score


def test_judge_without_knowledge_abstains() -> None:
    verdict = GroundednessJudge().judge_reply(["Hi!"], [" "], "Hello!")
    assert (verdict.label, verdict.score) == ("ambiguous", 0.5)
    assert "no knowledge" in verdict.evidence


@pytest.mark.parametrize(("files", "lowest"), WORTH.items())
def test_worth_on_labelled_replies(judged: Path, files: str, lowest: float) -> None:
    items = [item for path in sorted(judged.glob(files)) for item in read_labelled(path)]
    scores = groundedness([i.reply for i in items], [i.knowledge for i in items])
    assert auc(scores, [i.label == "correct" for i in items], resamples=10).value > lowest


def test_four_thousand_replies_take_less_than_three_seconds(judged: Path) -> None:
    files = (*judged.glob("alexa*.csv"), *judged.glob("begin*.tsv"), *judged.glob("q2*.csv"))
    items = [item for path in files for item in read_labelled(path)]
    items = (items * 2)[:4000]
    started = time.process_time()
    groundedness([i.reply for i in items], [i.knowledge for i in items])
    assert time.process_time() - started < 3
