"""Intervals, paired tests and agreement against worked figures, textbook examples and the libraries' own results."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from wikillama.errors import InputError
from wikillama.evaluation.resampling import approximate_randomization, cluster_sums
from wikillama.evaluation.statistics import (
    auc,
    balanced_accuracy,
    bowker,
    fisher,
    holm,
    independence,
    kappa,
    krippendorff_alpha,
    mcnemar_exact,
    mcnemar_over_pairings,
    no_detectable_difference,
    paired_bootstrap,
    rogan_gladen,
    small_sample_warning,
    stuart_maxwell,
    wilson,
)

# correct, wrong, ambiguous of 200 answers, as published for the three systems of the study
BASE, NO_QLORA, QLORA = (122, 68, 10), (152, 45, 3), (149, 48, 3)
TRANSITION = [[108, 13, 1], [36, 31, 1], [5, 4, 1]]  # the margins are the study's, the cells are invented
HUMAN_BY_JUDGE = [[138, 9, 2], [11, 36, 1], [1, 1, 1]]
ALWAYS_CORRECT = [[149, 0, 0], [48, 0, 0], [3, 0, 0]]
_ = None


@pytest.mark.parametrize(
    ("k", "n", "expected"),
    [
        (122, 200, (0.610, 0.541, 0.675)),
        (152, 200, (0.760, 0.696, 0.814)),
        (149, 200, (0.745, 0.680, 0.800)),
        (122, 190, (0.642, 0.572, 0.707)),
        (152, 197, (0.772, 0.708, 0.825)),
        (149, 197, (0.756, 0.692, 0.811)),
    ],
)
def test_wilson(k: int, n: int, expected: tuple[float, float, float]) -> None:
    found = wilson(k, n)
    assert tuple(round(x, 3) for x in (found.value, found.low, found.high)) == expected
    assert found.n == n


def test_wilson_of_one_topic_and_at_the_ends() -> None:
    topic = wilson(15, 20)
    assert (round(topic.low, 2), round(topic.high, 2)) == (0.53, 0.89)
    assert wilson(0, 20).low == pytest.approx(0, abs=1e-12)
    assert wilson(20, 20).high == pytest.approx(1)
    for k, n in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(InputError, match=f"share of {k} in {n}"):
            wilson(k, n)


def test_few_items_are_warned_of_in_words() -> None:
    assert small_sample_warning(200) is None
    assert small_sample_warning(93) is None
    assert small_sample_warning(20) == (
        "n=20: a share near one half is uncertain by 20 points either way; do not rank by it"
    )
    assert small_sample_warning(1) is not None
    assert small_sample_warning(0) == "no items: nothing can be said"


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [(41, 14, 0.000355), (3, 0, 0.25), (10, 7, 0.63), (27, 0, 1.5e-8), (78, 51, 0.022), (0, 0, 1), (4, 4, 1)],
)
def test_mcnemar_exact(b: int, c: int, p: float) -> None:
    assert mcnemar_exact(b, c).p == pytest.approx(p, rel=0.02)
    assert mcnemar_exact(c, b).p == mcnemar_exact(b, c).p
    if b + c:
        assert mcnemar_exact(b, c).p == pytest.approx(stats.binomtest(b, b + c).pvalue)


@pytest.mark.parametrize(("losses", "net"), [(0, 6), (5, 10), (10, 13), (20, 16), (30, 19), (40, 21)])
def test_net_gain_that_200_items_need(losses: int, net: int) -> None:
    assert mcnemar_exact(losses + net, losses).p < 0.05 <= mcnemar_exact(losses + net - 1, losses).p


def test_no_pairing_tells_qlora_from_no_qlora() -> None:
    pairings = mcnemar_over_pairings(NO_QLORA[0], QLORA[0], 200)
    assert pairings.lowest_p == 0.25  # three answers changed, all the same way
    assert no_detectable_difference(NO_QLORA[0], QLORA[0], 200)
    assert no_detectable_difference(QLORA[0], NO_QLORA[0], 200)
    assert no_detectable_difference(149, 149, 200)


def test_every_pairing_tells_base_from_tuned() -> None:
    qlora, no_qlora = (mcnemar_over_pairings(BASE[0], tuned[0], 200) for tuned in (QLORA, NO_QLORA))
    assert qlora.lowest_p == pytest.approx(1.5e-8, rel=0.01)
    assert qlora.highest_p == pytest.approx(0.022, abs=5e-4)
    assert no_qlora.lowest_p == pytest.approx(1.9e-9, rel=0.03)
    assert no_qlora.highest_p == pytest.approx(0.0095, abs=5e-5)
    assert not no_detectable_difference(BASE[0], QLORA[0], 200)


def test_some_pairings_may_differ_where_others_do_not() -> None:
    pairings = mcnemar_over_pairings(100, 110, 200)
    assert pairings.lowest_p < 0.05 < pairings.highest_p
    assert not no_detectable_difference(100, 110, 200)
    with pytest.raises(InputError, match="201 and 3 of 200"):
        mcnemar_over_pairings(201, 3, 200)


def test_stuart_maxwell() -> None:
    found = stuart_maxwell(TRANSITION)
    assert (round(found.statistic, 4), found.df, round(found.p, 6)) == (14.8436, 2, 0.000598)


def test_stuart_maxwell_leaves_out_labels_that_nothing_left_or_entered() -> None:
    two = stuart_maxwell([[100, 14], [41, 40]])
    assert two.statistic == pytest.approx((41 - 14) ** 2 / 55)  # McNemar's, uncorrected
    assert stuart_maxwell([[100, 14, 0], [41, 40, 0], [0, 0, 5]]) == two
    assert stuart_maxwell([[100, 14, 0], [41, 40, 0], [0, 0, 0]]) == two
    still = stuart_maxwell([[5, 0, 0], [0, 4, 0], [0, 0, 3]])
    assert (still.statistic, still.df, still.p) == (0, 0, 1)


def test_bowker() -> None:
    found = bowker(TRANSITION)
    assert (round(found.statistic, 4), found.df, round(found.p, 4)) == (15.2626, 3, 0.0016)
    one_pair = bowker([[9, 14, 0], [41, 9, 0], [0, 0, 9]])
    assert (round(one_pair.statistic, 9), one_pair.df) == (round((41 - 14) ** 2 / 55, 9), 1)  # McNemar's
    assert bowker([[9, 0], [0, 9]]).p == 1


@pytest.mark.parametrize("table", [[[1, 2, 3], [4, 5, 6]], [[0, 0], [0, 0]], [1, 2]])
def test_tables_that_are_not_square_or_empty_are_refused(table: list[list[int]]) -> None:
    for test in (stuart_maxwell, bowker, kappa, balanced_accuracy):
        with pytest.raises(InputError, match="square"):
            test(table)


def test_unpaired_tests() -> None:
    assert fisher(18, 20, 12, 20) == pytest.approx(0.065, abs=5e-4)
    assert fisher(19, 20, 11, 20) == pytest.approx(0.008, abs=5e-4)
    assert independence([NO_QLORA, QLORA]).p == pytest.approx(0.94, abs=5e-3)
    found = independence([BASE, QLORA])
    assert (found.df, round(found.p, 4)) == (2, 0.0071)
    assert independence([[152, 48, 0], [149, 51, 0]]) == independence([[152, 48], [149, 51]])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5]) == (0.5,)
    assert holm([]) == ()


GAINED_AND_LOST = [1] * 41 + [-1] * 14 + [0] * 145  # of TRANSITION


def test_paired_bootstrap() -> None:
    found = paired_bootstrap(GAINED_AND_LOST, range(200))
    assert (found.value, round(found.low, 3), round(found.high, 3), found.n) == (0.135, 0.070, 0.205, 200)
    # the lower bound lies between two steps of 1/200: the limit of many resamples is .065
    assert paired_bootstrap(GAINED_AND_LOST, range(200), resamples=100_000).low == pytest.approx(0.065)


def test_clusters_widen_the_interval_and_raise_p() -> None:
    differences = np.repeat(np.random.default_rng(1).normal(0.2, 1, 40), 10).tolist()  # ten alike in a dialogue
    dialogues = [turn // 10 for turn in range(400)]
    clustered, single = paired_bootstrap(differences, dialogues), paired_bootstrap(differences, range(400))
    ratio = (clustered.high - clustered.low) / (single.high - single.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.1)
    assert swapped(differences, dialogues) > 10 * swapped(differences, range(400))


def swapped(differences: Sequence[float], clusters: Sequence[int], resamples: int = 10_000) -> float:
    """The p of a mean difference of 0."""
    sums = cluster_sums(np.array(differences, float)[:, None], clusters)
    (p,) = approximate_randomization(np.zeros_like(sums), sums, lambda totals: totals, resamples)
    return float(p)


def test_approximate_randomization_is_mcnemar_for_yes_and_no() -> None:
    found = swapped(GAINED_AND_LOST, range(200), resamples=50_000)
    assert found == pytest.approx(mcnemar_exact(41, 14).p, abs=3e-4)
    assert swapped([1] * 3 + [0] * 9, range(12)) == mcnemar_exact(3, 0).p == 0.25  # of few, all swaps are tried
    assert swapped([0.1, 0.2, 0.3], range(3)) == 0.25  # 2 of 8 signs
    assert swapped([0.0, 0.0], range(2)) == 1


def test_kappa() -> None:
    found = kappa(HUMAN_BY_JUDGE)
    assert round(found.value, 4) == 0.6760
    assert found.value == pytest.approx(cohens_kappa(HUMAN_BY_JUDGE, return_results=False))
    exact = cohens_kappa(HUMAN_BY_JUDGE)  # its interval is of the normal approximation
    assert found.low == pytest.approx(exact.kappa_low, abs=0.02)
    assert found.high == pytest.approx(exact.kappa_upp, abs=0.02)
    assert found.n == 200


def test_always_correct_is_accurate_and_says_nothing() -> None:
    accuracy = np.trace(ALWAYS_CORRECT) / np.sum(ALWAYS_CORRECT)
    assert accuracy == 0.745
    assert kappa(ALWAYS_CORRECT).value == pytest.approx(0)
    assert round(balanced_accuracy(ALWAYS_CORRECT), 3) == 0.333
    undefined = kappa([[5, 0], [0, 0]])
    assert math.isnan(undefined.value)
    assert math.isnan(undefined.low)


def test_balanced_accuracy() -> None:
    assert round(balanced_accuracy(HUMAN_BY_JUDGE), 4) == 0.6698
    assert balanced_accuracy([[9, 1, 0], [2, 2, 0], [0, 0, 0]]) == pytest.approx((0.9 + 0.5) / 2)


def test_krippendorff_alpha_of_two_raters() -> None:
    human = [label for label, row in enumerate(HUMAN_BY_JUDGE) for _ in range(sum(row))]
    judge = [label for row in HUMAN_BY_JUDGE for label, count in enumerate(row) for _ in range(count)]
    found = krippendorff_alpha([human, judge])
    assert round(found.value, 4) == 0.6767
    assert found.low == pytest.approx(kappa(HUMAN_BY_JUDGE).low, abs=0.02)
    assert found.high == pytest.approx(kappa(HUMAN_BY_JUDGE).high, abs=0.02)


def test_krippendorff_alpha_with_missing_ratings() -> None:
    ratings = [  # a well-known example; the package krippendorff 0.9.0 gives .691358
        [_, _, _, _, _, 3, 4, 1, 2, 1, 1, 3, 3, _, 3],
        [1, _, 2, 1, 3, 3, 4, 3, _, _, _, _, _, _, _],
        [_, _, 2, 1, 3, 4, 4, _, 2, 1, 1, 3, 3, _, 4],
    ]
    found = krippendorff_alpha(ratings)
    assert found.value == pytest.approx(0.691358, abs=5e-7)
    assert found.n == 12  # three items have less than two ratings
    assert found.low < found.value < found.high
    assert krippendorff_alpha([["yes", "no"], ["yes", "no"]]).value == 1
    assert math.isnan(krippendorff_alpha([["yes", "yes"], ["yes", "yes"]]).value)
    with pytest.raises(InputError, match="no item has two ratings"):
        krippendorff_alpha([["yes", _], [_, "no"]])


def test_rogan_gladen() -> None:
    sensitivity, specificity = 138 / 149, 39 / 51
    assert (round(sensitivity, 4), round(specificity, 4)) == (0.9262, 0.7647)
    assert rogan_gladen(0.75, sensitivity, specificity) == pytest.approx(0.745)
    assert rogan_gladen(0.1, 0.9, 0.8) == 0
    assert rogan_gladen(0.95, 0.9, 0.8) == 1
    with pytest.raises(InputError, match="no better than chance"):
        rogan_gladen(0.5, 0.5, 0.5)


def test_auc() -> None:
    assert auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).value == 0.75
    assert auc([1, 1, 1], [True, False, False]).value == 0.5
    assert auc([-math.inf, -math.inf, 1], [True, False, False]).value == 0.25
    rng = np.random.default_rng(0)
    labels = np.arange(400) < 150
    scores = np.round(rng.normal(size=400) + labels, 1)  # with ties
    found = auc(scores.tolist(), labels.tolist())
    expected = stats.mannwhitneyu(scores[labels], scores[~labels]).statistic / (150 * 250)
    assert found.value == pytest.approx(expected)
    # the standard error of Hanley and McNeil 1982
    q1, q2 = expected / (2 - expected), 2 * expected**2 / (1 + expected)
    variance = expected * (1 - expected) + 149 * (q1 - expected**2) + 249 * (q2 - expected**2)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(variance / (150 * 250)), rel=0.1)
    for one_sided in ([True, True], [False, False]):
        with pytest.raises(InputError, match="one label"):
            auc([0.1, 0.2], one_sided)
