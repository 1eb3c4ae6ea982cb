"""The bootstrap: intervals from resampled clusters, in blocks of matrix products instead of loops over resamples.

Turns of one dialogue resemble each other, so dialogues are resampled, not turns. A statistic that is a function of sums
over items needs each cluster's sums only once: a resample is then a row of counts times the matrix of sums.
"""

from collections.abc import Hashable, Iterator, Sequence
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
