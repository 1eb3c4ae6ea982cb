"""Results as tables for the console."""

import math
from collections.abc import Mapping

from rich.table import Table

from wikillama.evaluation.matrices import LABELS, transition
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Evaluation, SystemResult
from wikillama.evaluation.statistics import mcnemar_exact, wilson

_ROWS = (
    ("loss (nats a token)", "loss", ".3f"),
    ("perplexity", "ppl", ".2f"),
    ("F1", "f1", ".3f"),
    ("knowledge-F1", "kf1", ".3f"),
    ("words a reply", "mean_words", ".1f"),
)


def scores_table(title: str, systems: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """Loss, perplexity, F1 and knowledge-F1 with their 95 % intervals, a column a system."""
    table = Table("", *systems, title=title, title_justify="left")
    for label, name, form in _ROWS:
        table.add_row(label, *(with_interval(metrics.get(name), form) for metrics in systems.values()))
    return table


def metrics_table(title: str, metrics: Mapping[str, Estimate]) -> Table:
    """All metrics of one system, with their 95 % intervals and the number of turns that each counts."""
    table = Table("metric", "value [95 %]", "turns", title=title, title_justify="left")
    for name, estimate in metrics.items():
        table.add_row(name, with_interval(estimate, ".4f"), f"{estimate.n:,}")
    return table


def with_interval(estimate: Estimate | None, form: str) -> str:
    """A value and, where there is one, its interval."""
    if estimate is None:
        return "none"
    if math.isnan(estimate.low):
        return format(estimate.value, form)
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def counts_table(found: Evaluation) -> Table:
    """Correct, wrong and ambiguous answers of each system, the share of correct ones with Wilson's interval, and the
    seconds of a reply where replies were timed one by one."""
    title = f"{found.suite}, {found.knowledge} knowledge, judge {found.judge}"
    timed = any(system.costs.reply_s is not None for system in found.systems)
    columns = [*LABELS, "share correct [95 %]", *(["s a reply"] if timed else [])]
    table = Table("", *columns, title=title, title_justify="left")
    for system in found.systems:
        share = wilson(system.counts[0], len(system.answers)) if system.answers else None
        cells = [system.name, *map(str, system.counts), with_interval(share, ".3f")]
        if timed:
            cells.append("" if system.costs.reply_s is None else f"{system.costs.reply_s:.2f}")
        table.add_row(*cells)
    return table


def transition_table(before: SystemResult, after: SystemResult) -> Table:
    """How the judge's labels moved from one system to another over the same questions, with exact McNemar."""
    both = before.labels.keys() & after.labels.keys()
    moved = transition(
        {item: label for item, label in before.labels.items() if item in both},
        {item: label for item, label in after.labels.items() if item in both},
        before.name,
        after.name,
    )
    test = mcnemar_exact(len(moved.gained), len(moved.lost))
    title = (
        f"{before.name} (rows) -> {after.name} (columns): {test.b} won, {test.c} lost, exact McNemar p = {test.p:.3g}"
    )
    table = Table("", *LABELS, title=title, title_justify="left")
    for label, row in zip(LABELS, moved.counts, strict=True):
        table.add_row(label, *map(str, row))
    return table
