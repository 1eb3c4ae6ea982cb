"""Figures of an evaluation, for paper and screen: they read in black and white, at the width of one column (3.3 inches)
or of a page (7 inches).

Matplotlib's Figure API without pyplot, so nothing stays open and threads do not meet.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator

from wikillama.evaluation.comparison import Judged
from wikillama.evaluation.matrices import Agreement, Matrix, Transition
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Costs
from wikillama.evaluation.wording import p_value, share, with_interval

COLUMN, PAGE = 3.3, 7.0  # inches
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # names of systems may hold dollar signs
}
# light and dark tell the first three apart in grey, hatches the next ones
FILLS = ("#c3d4e3", "#6f97b8", "#1f3f5e")
_HATCHES = ("", "///", "...")
_REPORTED_HATCHES = ("////", "....", "xxxx", "----", "||||")
MARKERS = "osD^vP*X"
_HALO = [withStroke(linewidth=2, foreground="white")]  # a dark line stays seen on a dark bar

_Draw = TypeVar("_Draw", bound=Callable[..., Any])


def styled(draw: _Draw) -> _Draw:
    """Draws in the style of all figures."""
    return mpl.rc_context(_STYLE)(draw)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class CostPoint:
    """A system's figure of merit beside what it takes."""

    name: str
    merit: Estimate
    costs: Costs


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG of 150 dots an inch, the same bytes for the same figure; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
    return path


@styled
def topic_bars(systems: Sequence[Judged], reported: Sequence[Judged] = (), width: float = PAGE) -> Figure:
    """Correct answers by topic, a bar a system with Wilson's interval; systems that the study reports are hatched on
    white. In counts where every topic has as many questions, else in per cent. Narrow figures lie on their side."""
    shown = [*systems, *reported]
    sizes = {topic.topic: topic.share.n for system in reversed(systems) for topic in system.topics}
    topics = list(dict.fromkeys(topic.topic for system in systems for topic in system.topics))
    each = {topic.share.n for system in shown for topic in system.topics}
    unit, what = (min(each), f"correct answers of {min(each)}") if len(each) == 1 else (100, "correct answers, %")
    upright = width > 5
    lying = 1 + 0.16 * len(shown) + len(topics) * (0.1 + 0.085 * len(shown))
    figure = Figure(figsize=(width, 2.9 + 0.1 * len(shown) if upright else lying), layout="constrained")
    axes = figure.subplots()
    step = 0.84 / len(shown)
    for place, system in enumerate(shown):
        shift = (place - (len(shown) - 1) / 2) * step
        known = {topics.index(t.topic) + shift: t.share for t in system.topics if t.topic in sizes}
        values = [unit * share.value for share in known.values()]
        spread = [
            [unit * max(0.0, share.value - share.low) for share in known.values()],
            [unit * max(0.0, share.high - share.value) for share in known.values()],
        ]
        look = _look(place) if place < len(systems) else _reported_look(place - len(systems))
        look["label"] = f"{short(system.name)}{', reported' * system.reported}: {system.correct} of {system.strict.n}"
        look["error_kw"] = {"ecolor": "0.1", "elinewidth": 0.7, "capsize": min(1.8, 10 * step), "path_effects": _HALO}
        if upright:
            axes.bar(list(known), values, step * 0.94, yerr=spread, **look)
        else:
            axes.barh(list(known), values, step * 0.94, xerr=spread, **look)
    names = topics if len({*sizes.values()}) == 1 else [f"{topic}\nn={sizes[topic]}" for topic in topics]
    if upright:
        axes.set_xticks(range(len(topics)), names, rotation=0 if len(topics) <= 5 else 20)
        axes.set(ylabel=what, ylim=(0, 1.02 * unit), xlim=(-0.55, len(topics) - 0.45))
    else:
        axes.set_yticks(range(len(topics)), names)
        axes.set(xlabel=what, xlim=(0, 1.02 * unit), ylim=(len(topics) - 0.45, -0.55))
    if unit % 4 == 0:
        (axes.yaxis if upright else axes.xaxis).set_major_locator(MultipleLocator(unit / 4))
    figure.suptitle(f"Correct answers by topic with 95 % intervals, n = {systems[0].strict.n}", fontsize=8.5)
    figure.legend(loc="outside lower center", ncols=2 if upright else 1, fontsize=7.5)
    return figure


@styled
def matrix(table: Matrix, note: str = "", width: float = COLUMN) -> Figure:
    """A table of counts, the darker the greater its share of the row; `note` stands under the title."""
    rows, columns = len(table.row_names), len(table.column_names)
    labels = [f"{name} ({sum(row)})" for name, row in zip(table.row_names, table.counts, strict=True)]
    totals = [sum(row[place] for row in table.counts) for place in range(columns)]
    square = rows == columns
    height = min(width * 0.86, 3.6) if square else 0.9 + 0.25 * rows
    figure = Figure(figsize=(width, height + 0.14 * note.count("\n")), layout="constrained")
    axes = figure.subplots()
    shares = [[count / (sum(row) or 1) for count in row] for row in table.counts]
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1.15, aspect="auto")
    for y, row in enumerate(table.counts):
        for x, count in enumerate(row):
            dark = shares[y][x] > 0.7
            text = f"{count}\n{shares[y][x]:.0%}" if square else f"{count}"
            axes.text(x, y, text, ha="center", va="center", color="white" if dark else "black", fontsize=8)
    axes.set_xticks(range(columns), [f"{n}\n({t})" for n, t in zip(table.column_names, totals, strict=True)])
    axes.set_yticks(range(rows), labels)
    axes.set_xticks([x - 0.5 for x in range(1, columns)], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, rows)], minor=True)
    axes.grid(which="minor", color="0.5", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6, color="0.5")
    axes.set_ylabel(short(table.row, 30))
    axes.set_xlabel(short(table.column, 30))
    title = "\n".join(textwrap.wrap(f"{table.title}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{table.n}", int(14 * width)))
    figure.suptitle(f"{title}\n{note}" if note else title, fontsize=8.5)
    return figure


def transition_matrix(move: Transition, p: float, width: float = COLUMN) -> Figure:
    """How labels moved; `p` is that of the exact McNemar test."""
    note = f"{len(move.gained)} won, {len(move.lost)} lost, exact McNemar {p_value(p)}"
    return matrix(move, note, width)


def agreement_matrix(agreement: Agreement, width: float = COLUMN) -> Figure:
    """Two raters' labels of the same answers, with Cohen's kappa of three labels and of correct or not."""
    note = f"kappa {with_interval(agreement.kappa)}\ncorrect or not: kappa {with_interval(agreement.kappa_correct)}"
    return matrix(agreement, note, width)


@styled
def costs(points: Sequence[CostPoint], merit: str, width: float = PAGE) -> Figure | None:
    """The merit of systems against adapter size, memory and reply time: a panel for each that any system has a figure
    of; None where there is no figure at all."""
    panels = {
        "adapter, MB": [(point, point.costs.adapter_mb) for point in points],
        "peak memory, GB": [(point, point.costs.peak_gb) for point in points],
        "one reply, s": [(point, point.costs.reply_s) for point in points],
    }
    known = {name: found for name, found in panels.items() if any(cost is not None for _, cost in found)}
    if not known:
        return None
    beside = width > 5
    across, down = (len(known), 1) if beside else (1, len(known))
    size = (min(width, 1.2 + 2.3 * across), 2.6 + 0.16 * len(points)) if beside else (width, 0.8 + 1.9 * down)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for panel, (name, found) in zip(grid, known.items(), strict=True):
        _cost_panel(panel, name, found)
    for panel in grid[:: len(grid) if beside else 1]:
        panel.set_ylabel(merit)
    n = points[0].merit.n
    figure.suptitle(f"{merit[0].upper()}{merit[1:]} against cost, n = {n:,}", fontsize=8.5)
    handles = {text: handle for panel in grid for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    labels = [label for label in map(_label, points) if label in handles]
    shown = [handles[label] for label in labels]
    figure.legend(shown, labels, loc="outside lower center", ncols=2 if beside else 1, fontsize=7.5)
    return figure


def _cost_panel(panel: Axes, name: str, found: Sequence[tuple[CostPoint, float | None]]) -> None:
    for place, (point, cost) in enumerate(found):
        if cost is None:
            continue
        merit = point.merit
        spread = None if math.isnan(merit.low) else [[merit.value - merit.low], [merit.high - merit.value]]
        panel.errorbar(
            [cost],
            [merit.value],
            yerr=spread,
            fmt=MARKERS[place % len(MARKERS)],
            markersize=6,
            markerfacecolor=FILLS[place % len(FILLS)],
            markeredgecolor="black",
            ecolor="0.4",
            elinewidth=0.8,
            capsize=2,
            label=_label(point),
        )
    without = ", ".join(short(point.name, 24) for point, cost in found if cost is None)
    panel.set_xlabel(f"{name}\n(without: {without})" if without else name)
    panel.set_xlim(0, 1.15 * max(cost for _, cost in found if cost is not None) or 1)
    panel.grid(color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)


def _label(point: CostPoint) -> str:
    return f"{short(point.name)}: {share(point.merit.value)}"


def _look(place: int) -> dict[str, Any]:
    fill = FILLS[place % len(FILLS)]
    hatch = _HATCHES[place // len(FILLS) % len(_HATCHES)]
    return {"facecolor": fill, "edgecolor": "black" if fill != FILLS[-1] else "0.75", "hatch": hatch, "linewidth": 0.5}


def _reported_look(place: int) -> dict[str, Any]:
    hatch = _REPORTED_HATCHES[place % len(_REPORTED_HATCHES)]
    return {"facecolor": "white", "edgecolor": "0.25", "hatch": hatch, "linewidth": 0.5}


def short(name: str, most: int = 40) -> str:
    """A long name without its middle."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"
