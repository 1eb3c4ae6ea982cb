"""The figure of a comparison of runs: each metric with its interval, and below it the paired difference from the first.
Two intervals that overlap may still differ, since all answered the same; the lower row tells."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wikillama.evaluation.plots import FILLS, MARKERS, PAGE, short, styled
from wikillama.evaluation.resampling import Estimate

_ROW, _MARGIN = 0.2, 0.75  # inches


@dataclass(frozen=True, slots=True)
class Panel:
    """A metric by run. `differences` are from the run `first`; those without one are not in it."""

    title: str
    first: str
    values: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]


@styled
def interval_plot(names: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """A column a panel, a line a run, in the order of `names`."""
    below = [name for name in names if any(name in panel.differences for panel in panels)]
    heights = [_MARGIN + _ROW * len(names)] + ([_MARGIN + _ROW * len(below)] if below else [])
    size = (max(PAGE * 0.6, min(2.2, PAGE / len(panels)) * len(panels) + 0.6), 0.2 + sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(heights), len(panels), squeeze=False, sharey="row", height_ratios=heights)
    for column, panel in enumerate(panels):
        _dots(grid[0][column], names, names, panel.values)
        grid[0][column].set_title(panel.title)
        if below and not panel.differences:
            grid[1][column].set_visible(False)
        elif below:
            axes = grid[1][column]
            _dots(axes, below, names, panel.differences)
            axes.axvline(0, color="0.3", linewidth=0.8, zorder=0)
            axes.set_xlabel(f"difference from\n{short(panel.first, 24)}")
    return figure


def _dots(axes: Axes, names: Sequence[str], order: Sequence[str], known: Mapping[str, Estimate]) -> None:
    for place, name in enumerate(names):
        if name not in known:
            continue
        look = order.index(name)
        found = known[name]
        spread = None if math.isnan(found.low) else [[found.value - found.low], [found.high - found.value]]
        axes.errorbar(
            [found.value],
            [place],
            xerr=spread,
            fmt=MARKERS[look % len(MARKERS)],
            markersize=5,
            markerfacecolor=FILLS[look % len(FILLS)],
            markeredgecolor="black",
            markeredgewidth=0.6,
            ecolor="0.35",
            elinewidth=1,
            capsize=2,
        )
    axes.set_yticks(range(len(names)), [short(name, 24) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
