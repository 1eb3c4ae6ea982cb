"""How sure a figure is, and whether two systems differ: intervals, paired tests, agreement.

All intervals are of 95 %. Tests are two-sided. Systems are compared on the same items, so tests are paired: unpaired
ones (`fisher`, `independence`) are for where only counts are known. Everything random takes a seed.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import SquareTable, mcnemar
from statsmodels.stats.proportion import proportion_confint

from wikillama.errors import InputError
from wikillama.evaluation.resampling import (
    Estimate,
    Floats,
    cluster_sums,
    percentile_interval,
    resample_counts,
    resampled_sums,
)


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square test; no degree of freedom where nothing could differ (then p is 1)."""

    statistic: float
    df: int
    p: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """`b` items changed one way, `c` the other way."""

    b: int
    c: int
    p: float


@dataclass(frozen=True, slots=True)
class Pairings:
    """The p-values of exact McNemar over all pairings that two counts of the same items allow."""

    lowest_p: float
    highest_p: float
    n: int


def wilson(k: int, n: int) -> Estimate:
    """The share k / n with Wilson's interval. Raises InputError unless 0 <= k <= n and n > 0."""
    if not 0 <= k <= n or n == 0:
        raise InputError(f"share of {k} in {n}: give a count between 0 and the number of items, of at least one item")
    low, high = proportion_confint(k, n, method="wilson")
    return Estimate(k / n, float(low), float(high), n)


def small_sample_warning(n: int) -> str | None:
    """What `n` items cannot tell, in words; None where a share is known to 10 points or better."""
    if n == 0:
        return "no items: nothing can be said"
    middle = wilson(n // 2, n)
    reach = (middle.high - middle.low) / 2
    if reach <= 0.1:
        return None
    return f"n={n}: a share near one half is uncertain by {100 * reach:.0f} points either way; do not rank by it"


def mcnemar_exact(b: int, c: int) -> McNemar:
    """Exact McNemar of two paired yes/no answers, `b` yes only in the first and `c` yes only in the second."""
    return McNemar(b, c, float(mcnemar([[0, b], [c, 0]], exact=True).pvalue))


def mcnemar_over_pairings(first: int, second: int, n: int) -> Pairings:
    """What exact McNemar could give for `first` and `second` yes of the same n items, whichever items they were.

    The number of items that changed against the trend is unknown, from 0 up to what the counts leave room for.
    Raises InputError where a count is no count of n items.
    """
    if not (0 <= first <= n and 0 <= second <= n):
        raise InputError(f"{first} and {second} of {n} items: give counts between 0 and the number of items")
    few, many = sorted((first, second))
    ps = [mcnemar_exact(many - few + against, against).p for against in range(min(few, n - many) + 1)]
    return Pairings(min(ps), max(ps), n)


def no_detectable_difference(first: int, second: int, n: int, alpha: float = 0.05) -> bool:
    """Whether no pairing of the two counts could make exact McNemar significant; that does not make them equal."""
    return mcnemar_over_pairings(first, second, n).lowest_p >= alpha


def stuart_maxwell(table: ArrayLike) -> ChiSquare:
    """Whether the margins of a square paired table differ (Stuart 1955, Maxwell 1970).

    A label that no item left or entered has nothing to test and is left out, with its degree of freedom.
    """
    counts = _square(table)
    moved = counts - np.diag(np.diag(counts))
    live = np.flatnonzero(moved.sum(0) + moved.sum(1))
    if not live.size:
        return ChiSquare(0.0, 0, 1.0)
    found = SquareTable(counts[np.ix_(live, live)], shift_zeros=False).homogeneity(method="stuart_maxwell")
    return _chi2(found.statistic, live.size - 1)


def bowker(table: ArrayLike) -> ChiSquare:
    """Whether moves between each pair of labels balance (Bowker 1948); pairs without a move add no freedom."""
    counts = _square(table)
    pairs = int(np.count_nonzero(np.triu(counts + counts.T, 1)))
    return _chi2(SquareTable(counts, shift_zeros=False).symmetry().statistic, pairs)


def fisher(first: int, of_first: int, second: int, of_second: int) -> float:
    """Fisher's exact p for two unpaired shares, such as one topic's under two systems with different questions."""
    return float(stats.fisher_exact([[first, of_first - first], [second, of_second - second]]).pvalue)


def independence(table: ArrayLike) -> ChiSquare:
    """Whether rows and columns are independent: for unpaired counts, uncorrected, empty labels left out."""
    counts = np.asarray(table)
    found = stats.chi2_contingency(counts[counts.any(1)][:, counts.any(0)], correction=False)
    return ChiSquare(float(found.statistic), int(found.dof), float(found.pvalue))


def holm(pvalues: Sequence[float]) -> tuple[float, ...]:
    """p-values corrected for being many (Holm 1979), in the order given: smallest times n, next times n - 1, ...

    Never decreasing, and 1 at most. statsmodels' `multipletests` gives the same, and collects all garbage at each call,
    which takes half a second in a process that has loaded torch.
    """
    order = np.argsort(pvalues, kind="stable")
    factors = len(pvalues) - np.arange(len(pvalues))
    corrected = np.minimum(np.maximum.accumulate(np.asarray(pvalues, float)[order] * factors), 1.0)
    found = np.empty(len(pvalues))
    found[order] = corrected
    return tuple(found.tolist())


def paired_bootstrap(
    differences: Sequence[float], clusters: Sequence[Hashable], resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """The mean difference with a percentile interval over resampled clusters (dialogues, or items themselves)."""
    sums = cluster_sums(np.column_stack([differences, np.ones(len(differences))]), clusters)
    drawn = resampled_sums(sums, resamples, seed)
    return percentile_interval(float(np.mean(differences)), drawn[:, 0] / drawn[:, 1], len(differences))


def kappa(table: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Cohen's kappa of two raters' square table, with an interval over tables resampled from its cells.

    nan where both raters only ever give one and the same label.
    """
    counts = _square(table)
    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, resamples)
    return percentile_interval(float(_kappas(counts[None])[0]), _kappas(drawn.reshape(-1, *counts.shape)), n)


def _kappas(tables: NDArray[np.int64]) -> Floats:
    n = tables.sum((1, 2))
    agreed = np.trace(tables, axis1=1, axis2=2) / n
    expected = (tables.sum(1) * tables.sum(2)).sum(1) / n**2
    with np.errstate(invalid="ignore"):
        return np.asarray((agreed - expected) / (1 - expected))


def krippendorff_alpha(
    ratings: Sequence[Sequence[Hashable | None]], resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Krippendorff's nominal alpha, with an interval over resampled items; `n` counts items with two ratings or more.

    `ratings` holds one sequence a rater, None where a rater gave none. nan where only one label occurs.
    """
    labels = sorted({label for rater in ratings for label in rater if label is not None}, key=str)
    items = [[label for label in item if label is not None] for item in zip(*ratings, strict=True)]
    paired = [item for item in items if len(item) > 1]
    if not paired:
        raise InputError("Krippendorff's alpha: no item has two ratings; give items that two annotators labelled")
    counts = np.array([[item.count(label) for label in labels] for item in paired], float)
    raters = counts.sum(1)
    # a pair of ratings of an item weighs 1 / (raters - 1), so that each rating weighs 1
    agreed = (counts * (counts - 1)).sum(1) / (raters - 1)
    sums = np.column_stack([agreed, counts])

    def alphas(totals: Floats) -> Floats:
        rated = totals[:, 1:]
        n = rated.sum(1)
        with np.errstate(invalid="ignore"):
            expected = (n**2 - (rated**2).sum(1)) / (n - 1)
            return np.asarray(1 - (n - totals[:, 0]) / expected)

    value = float(alphas(sums.sum(0, keepdims=True))[0])
    return percentile_interval(value, alphas(resampled_sums(sums, resamples, seed)), len(paired))


def balanced_accuracy(table: ArrayLike) -> float:
    """The mean recall of the labels, rows being the truth; labels that no item truly has are left out."""
    counts = _square(table)
    true = counts.sum(1)
    return float(np.mean(np.diag(counts)[true > 0] / true[true > 0]))


def rogan_gladen(apparent: float, sensitivity: float, specificity: float) -> float:
    """The true share behind a judge's apparent share (Rogan and Gladen 1978), kept within 0..1.

    Raises InputError where the judge is no better than chance.
    """
    if sensitivity + specificity <= 1:
        raise InputError(
            f"a judge of sensitivity {sensitivity:.3f} and specificity {specificity:.3f} is no better than chance; "
            "its share cannot be corrected, label by hand"
        )
    return min(1.0, max(0.0, (apparent + specificity - 1) / (sensitivity + specificity - 1)))


def auc(scores: Sequence[float], labels: Sequence[bool], resamples: int = 10_000, seed: int = 0) -> Estimate:
    """The chance that a true item scores above a false one, ties half; interval over both classes, each resampled."""
    values, true = np.asarray(scores, float), np.asarray(labels, bool)
    if not true.any() or true.all():
        raise InputError("AUC: all items have one label; give some of each")
    wins = np.greater.outer(values[true], values[~true]) + 0.5 * np.equal.outer(values[true], values[~true])
    first, second = resample_counts(len(wins), resamples, seed), resample_counts(wins.shape[1], resamples, seed + 1)
    drawn = np.concatenate([((a @ wins) * b).sum(1) for a, b in zip(first, second, strict=True)]) / wins.size
    return percentile_interval(float(wins.mean()), drawn, len(values))


def _square(table: ArrayLike) -> NDArray[np.int64]:
    counts = np.asarray(table, np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.sum():
        raise InputError(f"a table of shape {counts.shape} with {counts.sum()} items: give a square one of some items")
    return counts


def _chi2(statistic: float, df: int) -> ChiSquare:
    return ChiSquare(float(statistic), df, float(stats.chi2.sf(statistic, df)) if df else 1.0)
