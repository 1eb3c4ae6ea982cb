"""The bootstrap and approximate randomization over clusters, in blocks of matrix products instead of loops.

Turns of one dialogue resemble each other, so dialogues are resampled or swapped, not turns. A statistic that is a
function of sums over items needs each cluster's sums only once: a resample is then a row of counts times the matrix of
sums.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wikillama.errors import InputError

Floats = NDArray[np.float64]

ROWS = 256  # resamples in memory at once: 2 MB for 1,000 clusters


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, from `n` items. The bounds are nan where there is no interval."""

    value: float
    low: float
    high: float
    n: int


def cluster_sums(values: ArrayLike, clusters: Sequence[Hashable]) -> Floats:
    """Sum the rows of `values` (items, columns) by cluster: (clusters, columns), in order of first appearance.

    Raises InputError unless there is one cluster an item and at least one item.
    """
    rows = np.asarray(values, float)
    if len(rows) != len(clusters) or not len(rows):
        raise InputError(f"{len(rows)} items but {len(clusters)} clusters: give each item its cluster, of at least one")
    places: dict[Hashable, int] = {}
    sums = np.zeros((len(set(clusters)), rows.shape[1]))
    np.add.at(sums, [places.setdefault(cluster, len(places)) for cluster in clusters], rows)
    return sums


def resample_counts(size: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each of `size` clusters is drawn in a resample of as many: blocks of (at most ROWS, size)."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, ROWS):
        rows = min(ROWS, resamples - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(float)


def resampled_sums(sums: Floats, resamples: int, seed: int) -> Floats:
    """Column sums of resampled rows of `sums` (clusters, columns): (resamples, columns)."""
    return np.concatenate([counts @ sums for counts in resample_counts(len(sums), resamples, seed)])


def percentile_interval(value: float, resampled: Floats, n: int) -> Estimate:
    """The value with the middle 95 % of its resamples; those in which it is undefined (nan) are left out."""
    defined = resampled[~np.isnan(resampled)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high), n)


def approximate_randomization(
    first: Floats, second: Floats, statistic: Callable[[Floats], Floats], resamples: int = 10_000, seed: int = 0
) -> Floats:
    """The p of no difference between two systems, of each statistic: (statistics,).

    `first` and `second` are the two systems' sums over the same clusters, (clusters, columns); `statistic` makes of
    totals (rows, columns) as many rows of statistics. Under the null, which system a cluster's sums are of is
    arbitrary: p is how often random swaps of whole clusters differ as much (Noreen 1989; Riezler and Maxwell 2005).
    Where there are at most `resamples` swaps all are tried, and p is exact; else the seen assignment counts as one of
    them, so that p is never 0 (Phipson and Smyth 2010).
    """
    clusters = len(first)
    exact = clusters < 63 and 2**clusters <= resamples
    moved, before, after = second - first, first.sum(0), second.sum(0)
    values = statistic(np.stack([before, after]))
    # another order of summing rounds otherwise
    seen = np.abs(values[1] - values[0]) - 1e-12 * np.abs(values).max(0)
    rng = np.random.default_rng(seed)
    trials = 2**clusters if exact else resamples
    as_large = np.zeros(values.shape[1])
    for start in range(0, trials, ROWS):
        rows = min(ROWS, trials - start)
        if exact:
            swaps = (np.arange(start, start + rows)[:, None] >> np.arange(clusters)) & 1
        else:
            swaps = rng.integers(2, size=(rows, clusters))
        shift = swaps.astype(float) @ moved
        as_large += (np.abs(statistic(after - shift) - statistic(before + shift)) >= seen).sum(0)
    return as_large / trials if exact else (1 + as_large) / (1 + trials)
