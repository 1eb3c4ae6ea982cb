"""Figures of many replies: means of the metrics of each, sacreBLEU's own BLEU, intervals over dialogues."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from wikillama.errors import InputError
from wikillama.evaluation.corpus_metrics import Reply, corpus_bleu, likelihood_metrics, score_replies, signature
from wikillama.evaluation.metrics import bleu4, prec_rec_f1, rare_words, rouge_l_recall
from wikillama.evaluation.resampling import cluster_sums, percentile_interval, resampled_sums

PREDICTION = "I love gardening, it is considered a relaxing activity."
GOLD = "I live on a farm, we garden all year long, it is very relaxing."
KNOWLEDGE = "Gardening is considered by many people to be a relaxing activity."
COPY = "gardening is considered a relaxing activity by many people"
ONE = Reply(PREDICTION, (GOLD,), (KNOWLEDGE,), ("Do you like gardening?",), "Gardening", "a")
TWO = Reply("no i have never used it", ("Never.",), None, (), None, "b")

OF_WORDS = {"f1", "precision", "recall", "bleu4", "bleu4_parlai", "rouge_l", "rouge_l_recall", "mean_words"}
OF_CORPUS = {"distinct_1", "distinct_2"}
OF_KNOWLEDGE = {"kf1", "kf1_parlai", "know_precision", "know_recall", "relevance_knowledge"}


def reply(text: str, reference: str, cluster: str = "a") -> Reply:
    return Reply(text, (reference,), None, (), None, cluster)


def test_every_metric_counts_the_turns_that_have_it() -> None:
    rare = rare_words(["we " * 8, "is " * 10, GOLD, KNOWLEDGE])
    scores = score_replies([ONE, TWO], rare, resamples=50)
    assert scores.keys() == OF_WORDS | OF_CORPUS | OF_KNOWLEDGE | {
        *("relevance_history", "rare_f1", "rare_f1_unseen_kept")
    }
    expected = {
        "f1": (0.3809524 + 2 / 7) / 2,
        "precision": (0.5 + 1 / 6) / 2,
        "recall": (0.3076923 + 1) / 2,
        "kf1": 0.5555556,
        "kf1_parlai": (0.5555556 + 4 / 9) / 2,
        "know_precision": 0.625,
        "know_recall": 0.5,
        "mean_words": (9 + 6) / 2,
    }
    assert {name: scores[name].value for name in expected} == pytest.approx(expected, abs=1e-7)
    one_turn = OF_KNOWLEDGE - {"kf1_parlai"} | {"relevance_history", "rare_f1"}  # "never" is not in the corpus
    assert {name: score.n for name, score in scores.items()} == {name: 2 - (name in one_turn) for name in scores}


def test_only_what_the_fields_allow() -> None:
    assert score_replies([TWO, TWO], resamples=50).keys() == OF_WORDS | OF_CORPUS


def test_refusals() -> None:
    with pytest.raises(InputError, match="no replies"):
        score_replies([])
    with pytest.raises(InputError, match=r"reply 2 .*dialogue b.*no reference"):
        score_replies([ONE, Reply("hi", (), None, (), None, "b")])


def test_no_interval_for_distinct_n_or_a_single_dialogue() -> None:
    scores = score_replies([ONE, TWO], resamples=50)
    for name in ("distinct_1", "kf1"):  # one dialogue has knowledge
        assert math.isnan(scores[name].low)
        assert math.isnan(scores[name].high)
    assert scores["f1"].low == pytest.approx(2 / 7)
    assert scores["f1"].high == pytest.approx(0.3809524)


def test_intervals_are_over_dialogues_and_repeatable() -> None:
    alike = [reply("yes", "yes" if d % 2 else "no", str(d)) for d in range(20) for _ in range(10)]
    apart = [reply("yes", "yes" if d % 2 else "no", f"{d} {turn}") for d in range(20) for turn in range(10)]
    of_dialogues, of_turns = score_replies(alike, resamples=2000)["f1"], score_replies(apart, resamples=2000)["f1"]
    assert of_dialogues.value == of_turns.value == 0.5
    wide, narrow = of_dialogues.high - of_dialogues.low, of_turns.high - of_turns.low
    assert wide == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(20), abs=0.1)
    assert narrow == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(200), abs=0.02)
    assert score_replies(alike, resamples=300, seed=4)["f1"] == score_replies(alike, resamples=300, seed=4)["f1"]


def test_bleu_is_sacrebleu_s() -> None:
    pairs = [(PREDICTION, GOLD), (COPY, KNOWLEDGE)]
    scores = score_replies([reply(*pair) for pair in pairs], resamples=20)
    assert scores["bleu4"].value == pytest.approx(13.40, abs=0.005)
    assert scores["bleu4_parlai"].value == pytest.approx((bleu4(*_one(pairs[0])) + 0.000364) / 2, abs=1e-6)
    several = Reply(PREDICTION, (GOLD, KNOWLEDGE), None, (), None, "a")
    expected = BLEU().corpus_score([PREDICTION, PREDICTION], [[GOLD, GOLD], [KNOWLEDGE, KNOWLEDGE]]).score
    assert score_replies([several, several], resamples=20)["bleu4"].value == pytest.approx(expected)
    assert score_replies([reply("", GOLD), reply("tea", GOLD)], resamples=20)["bleu4"].value == 0


def _one(pair: tuple[str, str]) -> tuple[str, list[str]]:
    return pair[0], [pair[1]]


def test_bleu_of_many_corpora_at_once_is_sacrebleu_s_of_each() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        totals = np.maximum(rng.integers(0, 30) - np.arange(4), 0)
        matched = np.minimum.accumulate(rng.integers(0, totals + 1)) * rng.integers(0, 2)
        rows.append([totals[0], rng.integers(1, 40), *matched, *totals])
    expected = [
        BLEU.compute_bleu(list(map(int, r[2:6])), list(map(int, r[6:])), int(r[0]), int(r[1]), "exp").score
        for r in rows
    ]
    assert corpus_bleu(np.array(rows, float)) == pytest.approx(expected)
    assert 30 < sum(score > 0 for score in expected) < 270  # both kinds were tried
    assert any(r[5] == 0 < r[2] for r in rows)  # and smoothing


def test_signature_names_sacrebleu_s_settings() -> None:
    assert signature().startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.")
    assert signature(2).startswith("nrefs:2|")


def test_likelihood_metrics() -> None:
    found = likelihood_metrics(2.0 * 10 + 4.0 * 2, tokens=12, utf8_bytes=50)
    assert found.ppl == pytest.approx(10.3123, abs=5e-5)
    assert found.bits_per_byte == pytest.approx(28 / 0.6931472 / 50)
    with pytest.raises(InputError, match="0 tokens and 3 bytes"):
        likelihood_metrics(0.0, 0, 3)


def test_ten_thousand_resamples_of_a_test_split_are_fast() -> None:
    values = np.random.default_rng(0).random((4356, 16))
    clusters = [str(turn % 965) for turn in range(4356)]
    started = time.perf_counter()
    drawn = resampled_sums(cluster_sums(values, clusters), 10_000, seed=0)
    estimate = percentile_interval(float(values[:, 0].mean()), drawn[:, 0] / 4356, 4356)
    assert time.perf_counter() - started < 5
    assert estimate.low < estimate.value < estimate.high


@pytest.fixture(scope="module")
def gpt2(wow_data: Path) -> list[Reply]:
    """Zero-shot replies of GPT-2 to 3,865 turns of test seen, published with Few-Shot Bot (andreamad8/FSB)."""
    generated = json.loads((wow_data / "fsb_generations_gpt2_0shot.json").read_text(encoding="utf-8"))["generation"]
    dialogues = json.loads((wow_data / "fsb_test_seen.json").read_text(encoding="utf-8"))
    return [
        Reply(said[0], (turn[1],), tuple(knowledge) or None, (turn[0],), None, str(number))
        for number, (system, human) in enumerate(zip(generated, dialogues, strict=True))
        for said, turn, knowledge in zip(system["dialogue"], human["dialogue"], human["meta"], strict=True)
    ]


def test_published_figures_of_gpt2(gpt2: list[Reply], wow_data: Path) -> None:
    """The words, turns, first reference and empty replies (186, scored 0) are ours; three conventions differ.

    Source: andreamad8/FSB, metric/general.py and metric/scorer.py, at 11c43752. Its F1 is the mean of each turn's
    precision, recall and F1 (a mean over all three members of the tuples): 17.196 where F1 itself is 15.734. Its
    BLEU-4 and ROUGE-L get reply and reference in each other's place, so its "recall" is divided by the reply's words.
    """
    published = json.loads((wow_data / "fsb_generations_gpt2_0shot.json").read_text(encoding="utf-8"))["score"]
    assert (len(gpt2), sum(not turn.reply for turn in gpt2)) == (3865, 186)
    triples = np.array([prec_rec_f1(turn.reply, turn.references[0]) for turn in gpt2])
    assert 100 * triples.mean() == pytest.approx(published["F1"], abs=1e-10)
    assert published["F1"] == 17.195943890754712
    assert 100 * triples[:, 2].mean() == pytest.approx(15.7336, abs=5e-5)
    swapped = np.array([bleu4(turn.references[0], [turn.reply]) for turn in gpt2])
    assert 100 * swapped.mean() == pytest.approx(published["B4"], abs=1e-10)
    # py-rouge's table of irregular words is the rest: 19.615 with it
    swapped = np.array([rouge_l_recall(turn.references[0], [turn.reply]) for turn in gpt2])
    assert 100 * swapped.mean() == pytest.approx(published["RL"], abs=0.08)


def test_our_figures_of_gpt2(gpt2: list[Reply]) -> None:
    scores = score_replies(gpt2, resamples=1000)
    expected = {
        "f1": 0.1573364,
        "precision": 0.2089000,
        "recall": 0.1496419,
        "kf1": 0.1732620,
        "kf1_parlai": 0.1626566,
        "know_precision": 0.2211569,
        "bleu4_parlai": 0.0182357,
        "rouge_l": 0.1490342,
        "rouge_l_recall": 0.1395553,
        "bleu4": 4.1218798,
    }
    assert {name: scores[name].value for name in expected} == pytest.approx(expected, abs=5e-7)
    assert (scores["f1"].n, scores["kf1"].n) == (3865, 3619)
    assert scores["f1"].low == pytest.approx(0.1525, abs=1e-3)
    assert scores["f1"].high == pytest.approx(0.1623, abs=1e-3)
