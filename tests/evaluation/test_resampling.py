"""Resampled sums are those of clusters drawn one by one, and vary as theory says."""

import math

import numpy as np
import pytest

from wikillama.errors import InputError
from wikillama.evaluation.resampling import ROWS, cluster_sums, percentile_interval, resample_counts, resampled_sums


def test_rows_are_summed_by_cluster() -> None:
    sums = cluster_sums([[1, 10], [2, 20], [3, 30]], ["b", "a", "b"])
    assert sums.tolist() == [[4, 40], [2, 20]]
    for clusters in ([], ["a"]):
        with pytest.raises(InputError, match="clusters"):
            cluster_sums(np.ones((0 if not clusters else 2, 1)), clusters)


def test_each_resample_draws_as_many_clusters_as_there_are() -> None:
    blocks = list(resample_counts(7, ROWS + 3, seed=0))
    assert [block.shape for block in blocks] == [(ROWS, 7), (3, 7)]
    assert all((block.sum(1) == 7).all() for block in blocks)
    assert np.concatenate(blocks).mean(0) == pytest.approx(np.ones(7), abs=0.2)
    assert len({tuple(row) for row in np.concatenate(blocks)}) > ROWS / 2


def test_sums_equal_those_of_drawn_rows() -> None:
    sums = np.arange(10.0).reshape(5, 2)
    drawn = np.random.default_rng(3).integers(5, size=(40, 5))
    assert resampled_sums(sums, 40, seed=3).tolist() == sums[drawn].sum(1).tolist()


def test_interval_of_a_mean_has_the_width_of_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1))
    means = resampled_sums(values, 4000, seed=0)[:, 0] / 400
    estimate = percentile_interval(float(values.mean()), means, 400)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)
    assert estimate.low < estimate.value < estimate.high


def test_undefined_resamples_are_left_out() -> None:
    assert percentile_interval(1.0, np.array([1.0, math.nan, 1.0]), 3).low == 1.0
    nothing = percentile_interval(math.nan, np.full(3, math.nan), 3)
    assert math.isnan(nothing.low)
    assert math.isnan(nothing.high)
