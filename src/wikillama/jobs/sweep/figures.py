"""What was swept, in pictures: figures against what was varied, and the objective against what it costs."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from wikillama.evaluation.plots import FILLS, MARKERS, PAGE, short, styled
from wikillama.jobs.sweep.headline import ADAPTER_MB, CORRECT, TOKENS_PER_S, Headline, objective_of
from wikillama.jobs.sweep.rows import COSTS, Row

_MOST_LINES = 6  # more kinds of jobs than that, as a search makes them, are dots
_MOST_KEYS = 4  # of which each has its column then
_MOST_NAMES = 8  # points of a front that are named
_DASHES = ("-", "--", ":")  # as many colours again


@styled
def against_swept(rows: Sequence[Row], objective: str) -> Figure | None:
    """The objective, right answers, adapter size and speed against what was varied: by the key with the most values, a
    line for each setting of the others; or where those are many, dots by each key. None without a finished job."""
    done = [row for row in rows if row.finished]
    keys = [key for key in (done[0].values if done else {}) if len({row.values[key] for row in done}) > 1]
    shown = [h for h in dict.fromkeys((objective_of(objective), CORRECT, ADAPTER_MB, TOKENS_PER_S)) if _known(done, h)]
    if not keys or not shown:
        return None
    main = max(keys, key=lambda key: (_is_number(done, key), len({row.values[key] for row in done})))
    lines = _lines(done, main)
    by = [main]
    if len(lines) > _MOST_LINES:
        lines, by = {"": done}, keys[:_MOST_KEYS]
    panels = [(key, headline) for headline in shown for key in by]
    across = 2 if by == [main] else len(by)
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(PAGE, 0.5 + 1.9 * down + 0.13 * len(lines)), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=False if by == [main] else "row").ravel()
    for place, (panel, (key, headline)) in enumerate(zip(grid, panels, strict=False)):
        _panel(panel, key, headline, lines, joined=by == [main] and _is_number(done, main))
        if by == [main] or place % across == 0:
            panel.set_ylabel(headline.label)
    for panel in grid[len(panels) :]:
        panel.set_visible(False)
    if len(lines) > 1:
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7.5)
    return figure


@styled
def against_costs(rows: Sequence[Row], objective: str) -> Figure | None:
    """The objective against adapter size, training time and speed, with the jobs that no other beats joined by a line.
    None where no finished job has both."""
    figure_of = objective_of(objective)
    done = [row for row in rows if row.finished and figure_of.of(row.job.run) is not None]
    costs = {kind: cost for kind, (cost, _) in COSTS.items() if _known(done, cost)}
    if not costs:
        return None
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    grid = figure.subplots(1, len(costs), sharey=True, squeeze=False).ravel()
    for panel, (kind, cost) in zip(grid, costs.items(), strict=True):
        _cost_panel(panel, [row for row in done if cost.of(row.job.run) is not None], figure_of, kind, cost)
    grid[0].set_ylabel(figure_of.label)
    figure.suptitle(f"{figure_of.label} against its cost; on the line, what no other job beats", fontsize=8.5)
    return figure


def _panel(panel: Axes, key: str, headline: Headline, lines: Mapping[str, Sequence[Row]], joined: bool) -> None:
    done = [row for rows in lines.values() for row in rows]
    number = _is_number(done, key)
    names = list(dict.fromkeys(row.values[key] for row in sorted(done, key=lambda row: row.number)))
    for place, (name, rows) in enumerate(lines.items()):
        known = [(row.values[key], value) for row in rows if (value := headline.of(row.job.run)) is not None]
        points = sorted((float(text) if number else float(names.index(text)), value) for text, value in known)
        panel.plot(
            [x for x, _ in points],
            [y for _, y in points],
            linestyle=_DASHES[place // len(FILLS) % len(_DASHES)] if joined else "",
            marker=MARKERS[place % len(MARKERS)],
            color=FILLS[::-1][place % len(FILLS)],
            markeredgecolor="black",
            markersize=5,
            label=name,
        )
    if number:
        _number_axis(panel, sorted({float(row.values[key]) for row in done}))
    else:
        panel.set_xticks(range(len(names)), [short(name, 16) for name in names], rotation=0 if len(names) <= 4 else 20)
        panel.set_xlim(-0.5, len(names) - 0.5)
    panel.set_xlabel(key)
    panel.grid(color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)


def _number_axis(panel: Axes, values: Sequence[float]) -> None:
    """Logarithmic where values span more than a factor of eight; with a tick at each where they are few."""
    if values[0] > 0 and values[-1] / values[0] >= 8:
        panel.set_xscale("log", base=2 if all(value.is_integer() for value in values) else 10)
    if len(values) <= 8:
        panel.xaxis.set_major_locator(FixedLocator(values))
        panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _cost_panel(panel: Axes, rows: Sequence[Row], merit: Headline, kind: str, cost: Headline) -> None:
    points = [(cost.of(row.job.run) or 0.0, merit.of(row.job.run) or 0.0, row) for row in rows]
    on = sorted(((x, y) for x, y, row in points if kind in row.fronts))
    panel.plot([x for x, _ in on], [y for _, y in on], color=FILLS[-1], linewidth=1, zorder=1)
    for x, y, row in points:
        best = kind in row.fronts
        panel.plot([x], [y], "o", color=FILLS[-1] if best else FILLS[0], markeredgecolor="black", markersize=5)
        if best and len(on) <= _MOST_NAMES:
            name = short(row.name, 24) if len(row.values) == 1 else f"job {row.number}"
            panel.annotate(name, (x, y), (3, 4), textcoords="offset points", fontsize=6.5)
    panel.set_xlabel(cost.label)
    panel.margins(x=0.2, y=0.12)
    panel.grid(color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)


def _lines(rows: Sequence[Row], main: str) -> dict[str, list[Row]]:
    """The rows by the values of all keys but `main`, in the order in which they came."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        others = ((key.rpartition(".")[2], value) for key, value in row.values.items() if key != main)
        lines.setdefault(", ".join(f"{key}={value}" for key, value in others), []).append(row)
    return lines


def _known(rows: Sequence[Row], headline: Headline) -> bool:
    return any(headline.of(row.job.run) is not None for row in rows)


def _is_number(rows: Sequence[Row], key: str) -> bool:
    """Whether all values of a key are numbers."""
    try:
        return all(math.isfinite(float(row.values[key])) for row in rows)
    except ValueError:
        return False
