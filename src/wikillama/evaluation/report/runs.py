"""Writes the comparison of runs: a page, the same in Markdown, one figure, and all that was computed as JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from wikillama.evaluation.interval_plot import Panel, interval_plot
from wikillama.evaluation.plots import save
from wikillama.evaluation.report.content import pair_lists
from wikillama.evaluation.report.differences import HEADLINES, differences, differences_in_words, few_dialogues
from wikillama.evaluation.report.figures import Picture
from wikillama.evaluation.report.headline import pairs_in_words
from wikillama.evaluation.report.metrics import METRICS, figure
from wikillama.evaluation.report.templates import markdown, page
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.run_comparison import Counted, Row, RunComparison, SuiteComparison
from wikillama.evaluation.wording import NOTHING, decimals, with_interval

NAME = "comparison"
BESIDE = 4  # runs that a table has columns for; more are lines
_LISTED = 6  # pairs whose questions are listed; of others the counts are enough
_COSTS = {"adapter, MB": 1, "peak, GB": 2, "tokens/s": 0, "one reply, s": 2}  # and their digits


@dataclass(frozen=True, slots=True)
class RunsTable:
    """A line a candidate, in the order of the comparison's rows."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def write_comparison(found: RunComparison, folder: Path, provenance: Mapping[str, str]) -> Path:
    """Write comparison.html, .md, .json and .png; gives the path of the page, which needs nothing beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    # answers have files of their own, in the runs
    kept = replace(found, suites=tuple(replace(suite, answers={}) for suite in found.suites))
    record = {"comparison": kept, "provenance": provenance}
    (folder / f"{NAME}.json").write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))  # nan becomes null
    plot = None
    if panels := _panels(found.suites):
        save(
            interval_plot([row.name for row in found.rows if _is_in(row.name, panels)], panels), folder / f"{NAME}.png"
        )
        plot = Picture(f"{NAME}.png", "Metrics with intervals, and differences from the first; tables below")
    shown = {"found": found, "provenance": provenance, "plot": plot, **_content(found)}
    (folder / f"{NAME}.md").write_text(markdown("runs.md.jinja", shown), "utf-8")
    path = folder / f"{NAME}.html"
    path.write_text(page("runs.html.jinja", shown, folder), "utf-8")
    return path


def runs_table(found: RunComparison, intervals: bool = True) -> RunsTable:
    """Headline metrics, with their intervals or without, costs and status of each candidate, as text."""

    def bare(estimate: Estimate) -> Estimate:
        return estimate if intervals else replace(estimate, low=math.nan, high=math.nan)

    columns: dict[str, list[str]] = {}
    names = [row.name for row in found.rows]
    for suite in found.suites:
        if suite.counted:
            columns[f"{suite.suite}: correct"] = [_correct(suite.counted.get(name), bare) for name in names]
        for key in HEADLINES:
            if any(key in metrics for metrics in suite.metrics.values()):
                of = [suite.metrics.get(name, {}).get(key) for name in names]
                columns[f"{suite.suite}: {METRICS[key][0]}"] = [figure(key, bare(e)) if e else NOTHING for e in of]
    for cost, digits in _COSTS.items():
        if any(cost in row.costs for row in found.rows):
            columns[cost] = [decimals(row.costs[cost], digits) if cost in row.costs else NOTHING for row in found.rows]
    columns["run, s"] = [NOTHING if row.seconds is None else decimals(row.seconds, 0) for row in found.rows]
    columns["began (UTC)"] = [_started(row) for row in found.rows]
    columns["status"] = [row.status.lower() for row in found.rows]
    return RunsTable(tuple(columns), tuple(zip(*columns.values(), strict=True)))


def result_in_words(suite: SuiteComparison) -> list[str]:
    """What differs on a suite, a sentence each."""
    return [*pairs_in_words(suite.pairs), *differences_in_words(suite.metric_pairs)]


def _started(row: Row) -> str:
    return NOTHING if row.started is None else f"{datetime.fromtimestamp(row.started, UTC):%Y-%m-%d %H:%M}"


def _correct(counted: Counted | None, bare: Callable[[Estimate], Estimate]) -> str:
    if counted is None:
        return NOTHING
    return f"{counted.correct} of {counted.share.n}, {with_interval(bare(counted.share))}"


def _content(found: RunComparison) -> dict[str, Any]:
    given = found.shared_params
    return {
        "table": runs_table(found),
        "beside": BESIDE,
        "params": given,
        "some_have": {name: values for name, values in found.params.items() if name not in given},
        "words": {suite.suite: result_in_words(suite) for suite in found.suites},
        "metrics": {suite.suite: _metric_rows(suite) for suite in found.suites},
        "differences": {suite.suite: differences(suite.metric_pairs) for suite in found.suites},
        "few": {suite.suite: few_dialogues(suite.metric_pairs) for suite in found.suites},
        "lists": {
            suite.suite: [pair_lists(pair, suite.answers) for pair in suite.pairs[:_LISTED]] for suite in found.suites
        },
        "remarks": found.all_remarks,
        "nothing": NOTHING,
    }


def _metric_rows(suite: SuiteComparison) -> list[tuple[str, str, list[str]]]:
    """Name, meaning, and a figure by candidate."""
    present = {key for metrics in suite.metrics.values() for key in metrics}
    return [
        (*METRICS[key], [figure(key, of[key]) if key in of else NOTHING for of in suite.metrics.values()])
        for key in METRICS
        if key in present
    ]


def _panels(suites: Sequence[SuiteComparison]) -> list[Panel]:
    """The share of correct answers, and the headline metrics over turns."""
    panels = []
    for suite in suites:
        if suite.counted:
            first = next(iter(suite.counted))
            moved = {pair.second: pair.difference for pair in suite.pairs if pair.first == first}
            panels.append(Panel(f"{suite.suite}: correct", first, _shares(suite), moved))
        for key in HEADLINES:
            values = {name: metrics[key] for name, metrics in suite.metrics.items() if key in metrics}
            if values:
                first = next(iter(suite.metrics))
                differ = {p.second: p.difference for p in suite.metric_pairs if (p.metric, p.first) == (key, first)}
                panels.append(Panel(f"{suite.suite}:\n{METRICS[key][0]}", first, values, differ))
    return panels


def _shares(suite: SuiteComparison) -> dict[str, Estimate]:
    return {name: counted.share for name, counted in suite.counted.items()}


def _is_in(name: str, panels: Sequence[Panel]) -> bool:
    return any(name in panel.values for panel in panels)
