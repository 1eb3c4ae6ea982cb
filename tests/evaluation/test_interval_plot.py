"""The figure of a comparison: what stands where, and which parts are left out."""

import math

import pytest

from wikillama.evaluation.interval_plot import Panel, interval_plot
from wikillama.evaluation.resampling import Estimate

A, B = Estimate(0.4, 0.3, 0.5, 9), Estimate(0.6, math.nan, math.nan, 9)
DIFFERENCE = Estimate(0.2, 0.1, 0.3, 9)


def test_values_above_and_differences_below() -> None:
    figure = interval_plot(["a", "b"], [Panel("F1", "a", {"a": A, "b": B}, {"b": DIFFERENCE})])
    above, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in below.get_yticklabels()] == ["b"]
    assert above.get_title() == "F1"
    assert below.get_xlabel() == "difference from\na"
    points = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in above.lines if line.get_marker() in "os"
    ]
    assert points == [(0.4, 0.0), (0.6, 1.0)]
    (interval,) = above.collections  # b has none
    assert interval.get_segments()[0][:, 0] == pytest.approx([0.3, 0.5])


def test_a_panel_that_nobody_is_compared_in_has_no_lower_part() -> None:
    panels = [Panel("F1", "a", {"a": A, "b": B}, {"b": DIFFERENCE}), Panel("correct", "b", {"b": B}, {})]
    figure = interval_plot(["a", "b"], panels)
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]
    assert len(interval_plot(["a", "b"], panels[1:]).axes) == 1
