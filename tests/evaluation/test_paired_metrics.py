"""Paired differences of corpus metrics: worked by hand, and against scipy's bootstrap and permutation test."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from invented import replies
from sacrebleu.metrics.bleu import BLEU
from scipy import stats

from wikillama.evaluation.paired_metrics import MetricPair, compare_turns, estimates, few_dialogues_warning
from wikillama.evaluation.results import Prediction
from wikillama.evaluation.statistics import holm


def only(metric: str, *systems: Sequence[Prediction], **more: Any) -> MetricPair:
    found = compare_turns(dict(zip("abcdefgh", systems, strict=False)), **more)
    (pair,) = (pair for pair in found if pair.metric == metric)
    return pair


def with_f1(turns: Sequence[Prediction], values: Sequence[float]) -> list[Prediction]:
    return [replace(turn, f1=value) for turn, value in zip(turns, values, strict=True)]


def test_three_dialogues_by_hand() -> None:
    """Of 27 resamples one in 27 holds the least difference alone: 3.7 %, so the middle 95 % reach from end to end."""
    turns = replies(["a", "b", "c"])
    pair = only("f1", with_f1(turns, [0.5, 0.5, 0.5]), with_f1(turns, [0.6, 0.7, 0.8]))
    assert (pair.first, pair.second, pair.dialogues, pair.difference.n) == ("a", "b", 3, 3)
    assert (pair.before, pair.after) == pytest.approx((0.5, 0.7))
    found = (pair.difference.value, pair.difference.low, pair.difference.high)
    assert found == pytest.approx((0.2, 0.1, 0.3))
    assert pair.p == pair.p_holm == 0.25  # 2 of 8 swaps differ as much


def test_it_is_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.beta(2, 8, 60), rng.beta(2.6, 8, 60)
    turns = replies([f"d{i}" for i in range(60)])
    pair = only("f1", with_f1(turns, first), with_f1(turns, second))
    scipy = stats.bootstrap(
        (second, first), lambda x, y, axis: (x - y).mean(axis), paired=True, method="percentile", n_resamples=10_000,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    assert pair.difference.low == pytest.approx(scipy.confidence_interval.low, abs=0.003)
    assert pair.difference.high == pytest.approx(scipy.confidence_interval.high, abs=0.003)
    by_swaps = stats.permutation_test(
        (first, second), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True,
        n_resamples=10_000, rng=np.random.default_rng(2),
    )  # fmt: skip
    assert pair.p == pytest.approx(by_swaps.pvalue, abs=0.01)
    assert 0.001 < pair.p < 0.2


LOSS: dict[str, Callable[[Any, Any], Any]] = {
    "loss": lambda nll, tokens: nll / tokens,
    "ppl": lambda nll, tokens: np.exp(nll / tokens),
}


@pytest.mark.parametrize("metric", LOSS)
def test_ratios_of_sums_are_resampled_as_such(metric: str) -> None:
    """A long dialogue weighs by its tokens; scipy swaps whole dialogues, given as places in a table of sums."""
    rng = np.random.default_rng(7)
    dialogues = [f"d{i}" for i in range(9) for _ in range(i + 1)]
    tokens = rng.integers(5, 40, len(dialogues))
    first, second = tokens * rng.normal(2.5, 0.4, len(tokens)), tokens * rng.normal(2.3, 0.4, len(tokens))
    turns = replies(dialogues)
    a, b = ([replace(t, nll=float(x), tokens=int(n)) for t, x, n in zip(turns, nll, tokens, strict=True)]
            for nll in (first, second))  # fmt: skip
    pair = only(metric, a, b)
    of = LOSS[metric]
    assert pair.before == pytest.approx(of(first.sum(), tokens.sum()))
    assert pair.difference.value == pytest.approx(of(second.sum(), tokens.sum()) - of(first.sum(), tokens.sum()))
    places = np.array([int(d[1:]) for d in dialogues])
    sums = np.array(
        [[(nll[places == i].sum(), tokens[places == i].sum()) for i in range(9)] for nll in (first, second)]
    )
    table = sums.reshape(18, 2)

    def statistic(x: Any, y: Any, axis: int) -> Any:
        one, two = table[x.astype(int)].sum(axis - 1), table[y.astype(int)].sum(axis - 1)
        return of(one[..., 0], one[..., 1]) - of(two[..., 0], two[..., 1])

    exact = stats.permutation_test(
        (np.arange(9.0), np.arange(9.0, 18)), statistic, permutation_type="samples", vectorized=True
    )  # fmt: skip
    assert len(exact.null_distribution) == 2**9
    assert pair.p == pytest.approx(exact.pvalue)
    drawn = rng.integers(9, size=(20_000, 9))
    one, two = sums[0][drawn].sum(1), sums[1][drawn].sum(1)
    low, high = np.percentile(of(two[:, 0], two[:, 1]) - of(one[:, 0], one[:, 1]), [2.5, 97.5])
    width = high - low
    assert (pair.difference.low, pair.difference.high) == pytest.approx((low, high), abs=0.04 * width)


def test_bits_are_of_the_references_bytes() -> None:
    turns = [replace(t, reference="é" * 5, nll=10 * math.log(2), tokens=2) for t in replies(["a", "b"])]
    assert estimates(turns)["bits_per_byte"].value == pytest.approx(1)


def test_bleu_is_sacrebleus_of_the_corpus() -> None:
    turns = replies(["a", "a", "b", "c"])
    said = ["a b c d e", "x y", "the cat sat on the mat", "no"]
    copied = [replace(t, reply=t.reference) for t in turns]
    other = [replace(t, reference=r, reply=r[:-2]) for t, r in zip(turns, said, strict=True)]
    assert only("bleu4", copied, copied).after == pytest.approx(100)
    expected = BLEU().corpus_score([t.reply for t in other], [[t.reference for t in other]]).score
    assert estimates(other)["bleu4"].value == pytest.approx(expected)


def test_knowledge_f1_counts_turns_with_knowledge() -> None:
    turns = [replace(t, kf1=0.5) for t in replies(["a", "b", "c", "d"])]
    turns[3] = replace(turns[3], gold_knowledge=None, kf1=None)
    better = [replace(t, kf1=t.kf1 and 1.0) for t in turns]
    pair = only("kf1", turns, better)
    assert (pair.difference.value, pair.difference.n, pair.dialogues) == (0.5, 3, 3)
    assert estimates(turns)["kf1"].n == 3
    bare = [replace(t, gold_knowledge=None, kf1=None) for t in turns]
    assert not {"kf1", "know_precision"} & {pair.metric for pair in compare_turns({"a": bare, "b": bare})}


def test_a_turn_is_the_same_by_its_words() -> None:
    turns = replies(["a", "b", "c", "d"])
    other = [turns[0], replace(turns[1], reference="Another."), replace(turns[2], history=("Else?",)), turns[3]]
    assert only("f1", turns, other).difference.n == 2
    assert compare_turns({"a": turns[:2], "b": turns[2:]}) == ()
    assert compare_turns({"a": turns, "b": []}) == ()


def test_loss_needs_one_tokenizer() -> None:
    turns = [replace(t, nll=12.0, tokens=4) for t in replies(["a", "b"])]
    finer = [replace(t, tokens=5) for t in turns]
    metrics = {pair.metric for pair in compare_turns({"a": turns, "b": finer})}
    assert {"f1", "bits_per_byte"} <= metrics
    assert not {"loss", "ppl"} & metrics


def test_nothing_differs_and_one_dialogue() -> None:
    turns = [replace(t, nll=12.0, tokens=4) for t in replies(["a", "a", "b"])]
    for pair in compare_turns({"a": turns, "b": turns}):
        assert (pair.difference.value, pair.difference.low, pair.difference.high, pair.p) == (0, 0, 0, 1)
    alone = only("f1", with_f1(turns[:2], [0, 0]), with_f1(turns[:2], [1, 1]))
    assert math.isnan(alone.difference.low)
    assert alone.p == 1


def test_p_is_corrected_over_the_pairs_of_a_metric() -> None:
    turns = replies([f"d{i}" for i in range(8)])
    low, high = [i / 100 for i in range(8)], [0.2 + i / 100 for i in range(8)]
    found = compare_turns({"a": with_f1(turns, low), "b": with_f1(turns, high), "c": with_f1(turns, high)})
    pairs = [pair for pair in found if pair.metric == "f1"]
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.p for pair in pairs] == [2 / 2**8, 2 / 2**8, 1]
    assert tuple(pair.p_holm for pair in pairs) == pytest.approx(holm([2 / 2**8, 2 / 2**8, 1]))


def test_warnings_of_few_dialogues() -> None:
    assert "no difference" in str(few_dialogues_warning(5))
    assert "go by p" in str(few_dialogues_warning(6))
    assert few_dialogues_warning(30) is None
