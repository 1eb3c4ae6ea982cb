"""The figures of a report and the tables behind them, as files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from matplotlib.figure import Figure

from wikillama.evaluation import plots
from wikillama.evaluation.comparison import Comparison
from wikillama.evaluation.matrices import Matrix, Transition
from wikillama.evaluation.pairwise import Pair
from wikillama.evaluation.results import Evaluation
from wikillama.evaluation.wording import p_value

_MERITS = {"kf1": "knowledge-F1", "f1": "F1"}  # what stands for quality where nothing was judged
_ALL = "all-systems"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG beside the report: its path there, and what it shows for those who do not see it."""

    name: str
    alt: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Pictures in the order of what they show; None where there is nothing to show."""

    topics: Picture | None
    costs: Picture | None
    pairs: tuple[Picture, ...]
    human_pairs: tuple[Picture, ...]
    by_topic: tuple[Picture, ...]
    judge: tuple[Picture, ...]
    annotators: tuple[Picture, ...]


def draw(evaluation: Evaluation, comparison: Comparison, folder: Path) -> Figures:
    """Draw and write topics.png, costs.png and confusion/*.png with the counts of each as JSON beside it."""
    short = _file_names([system.name for system in evaluation.systems])
    systems, judge, annotators = comparison.systems, comparison.judge, comparison.annotators.pairs
    raters = _file_names(list(evaluation.annotators))
    sizes = {topic.share.n for system in (*systems, *comparison.reported) for topic in system.topics}
    reported = comparison.reported if len(sizes) == 1 else ()  # beside as many questions a topic
    topics = plots.topic_bars(systems, reported) if systems else None
    return Figures(
        topics=_picture(topics, "topics.png", "Correct answers by topic; the table below holds the counts", folder),
        costs=_picture(_costs(evaluation, comparison), "costs.png", "Quality against cost; table below", folder),
        pairs=_transitions(comparison.pairs, short, "", folder),
        human_pairs=_transitions(comparison.human_pairs, short, "human", folder),
        by_topic=tuple(
            _matrix(plots.matrix(s.by_topic), s.by_topic, f"topics-{short[s.name]}", folder)
            for s in systems
            if s.by_topic
        ),
        judge=tuple(
            _matrix(plots.agreement_matrix(c.agreement), c.agreement, f"judge-{_slug(c.system, short)}", folder)
            for c in judge
        ),
        annotators=tuple(
            _matrix(plots.agreement_matrix(a), a, f"annotators-{raters[a.row]}-{raters[a.column]}", folder)
            for a in annotators
        ),
    )


def _costs(evaluation: Evaluation, comparison: Comparison) -> Figure | None:
    """Strict accuracy against cost, or knowledge-F1 or F1 where nothing was judged."""
    costs = {system.name: system.costs for system in evaluation.systems}
    if comparison.systems:
        judged = [plots.CostPoint(system.name, system.strict, costs[system.name]) for system in comparison.systems]
        return plots.costs(judged, "strict accuracy")
    for merit, name in _MERITS.items():
        known = [plots.CostPoint(s.name, s.metrics[merit], s.costs) for s in evaluation.systems if merit in s.metrics]
        if known:
            return plots.costs(known, name)
    return None


def _transitions(pairs: Sequence[Pair], short: dict[str, str], by: str, folder: Path) -> tuple[Picture, ...]:
    return tuple(
        _matrix(
            plots.transition_matrix(_titled(pair, by), pair.mcnemar.p),
            _titled(pair, by),
            f"{by}{'-' if by else ''}{short[pair.first]}-to-{short[pair.second]}",
            folder,
            f"{len(pair.transition.gained)} won, {len(pair.transition.lost)} lost, {p_value(pair.mcnemar.p)}",
        )
        for pair in pairs
    )


def _titled(pair: Pair, by: str) -> Transition:
    move = pair.transition
    return replace(move, title=f"{move.title}, {by} labels") if by else move


def _matrix(figure: Figure, table: Matrix, name: str, folder: Path, more: str = "") -> Picture:
    rows = "; ".join(
        f"{row}: " + ", ".join(f"{count} {column}" for column, count in zip(table.column_names, counts, strict=True))
        for row, counts in zip(table.row_names, table.counts, strict=True)
    )
    path = plots.save(figure, folder / "confusion" / f"{name}.png")
    path.with_suffix(".json").write_bytes(orjson.dumps(table, option=orjson.OPT_INDENT_2))
    alt = f"{table.title}, rows {table.row}, columns {table.column}: {rows}" + (f". {more}" if more else "")
    return Picture(f"confusion/{path.name}", alt)


def _picture(figure: Figure | None, name: str, alt: str, folder: Path) -> Picture | None:
    if figure is None:
        return None
    plots.save(figure, folder / name)
    return Picture(name, alt)


def _file_names(names: Sequence[str]) -> dict[str, str]:
    """A short name fit for files for each name, no two alike."""
    found: dict[str, str] = {}
    for place, name in enumerate(names, start=1):
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
        found[name] = (
            plain if plain and plain not in (*found.values(), "all-systems") else f"{plain}-{place}".strip("-")
        )
    return found


def _slug(system: str, short: dict[str, str]) -> str:
    return short.get(system, _ALL)
