"""Differences of metrics between two systems over the same turns: as rows of a table, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from wikillama.evaluation.paired_metrics import MetricPair, few_dialogues_warning
from wikillama.evaluation.report.metrics import METRICS, is_share, plain
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.wording import ALPHA, p_value, with_interval

HEADLINES = ("ppl", "f1", "kf1")


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """A `MetricPair` as text."""

    metric: str
    before: str
    after: str
    difference: str
    p: str
    p_holm: str
    turns: str


@dataclass(frozen=True, slots=True)
class Differences:
    """All metrics of two systems."""

    first: str
    second: str
    rows: tuple[DifferenceRow, ...]


def differences(pairs: Sequence[MetricPair]) -> list[Differences]:
    """A table for each two systems."""
    found = []
    for first, second in _names(pairs):
        inside = [pair for pair in pairs if (pair.first, pair.second) == (first, second)]
        found.append(Differences(first, second, tuple(map(_row, inside))))
    return found


def _names(pairs: Sequence[MetricPair]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((pair.first, pair.second) for pair in pairs))


def _row(pair: MetricPair) -> DifferenceRow:
    return DifferenceRow(
        METRICS[pair.metric][0],
        plain(pair.metric)(pair.before),
        plain(pair.metric)(pair.after),
        difference(pair.metric, pair.difference),
        p_value(pair.p),
        p_value(pair.p_holm),
        f"{pair.difference.n:,} of {pair.dialogues:,}",
    )


def difference(key: str, estimate: Estimate) -> str:
    """A difference of a metric with its sign and interval, in the metric's own digits."""

    def signed(value: float) -> str:
        text = plain(key)(value)
        return f"+{text}" if value > 0 and text.strip("0.,") else text

    return with_interval(estimate, signed, "," if is_share(key) else ", ")


def differences_in_words(pairs: Sequence[MetricPair]) -> list[str]:
    """What differs of perplexity, F1 and knowledge-F1, and what does not, for each two systems; of more than three
    pairs, for those with the first system alone. At last a warning of few dialogues."""
    two = _names(pairs)
    told = [names for names in two if len(two) <= 3 or names[0] == two[0][0]]
    said = [sentence for names in told if (sentence := _in_words(*names, pairs, len(two)))]
    return [*said, warning] if (warning := few_dialogues(pairs)) else said


def few_dialogues(pairs: Sequence[MetricPair]) -> str | None:
    """A sentence on what the fewest dialogues of a pair cannot tell; None where all are enough."""
    warning = few_dialogues_warning(min(pair.dialogues for pair in pairs)) if pairs else None
    return warning and f"Few dialogues, {warning}."


def _in_words(first: str, second: str, pairs: Sequence[MetricPair], of: int) -> str | None:
    moved: list[str] = []
    still: list[str] = []
    for key in HEADLINES:
        for pair in (p for p in pairs if (p.first, p.second, p.metric) == (first, second, key)):
            found = f"{METRICS[key][0]} {difference(key, pair.difference)} ({p_value(pair.p_holm)})"
            (moved if pair.p_holm < ALPHA else still).append(found)
    if not moved and not still:
        return None
    tests = f"paired tests over dialogues{f', Holm over {of} pairs' if of > 1 else ''}"
    open_ = f"no detectable difference in {', '.join(still)}" if still else ""
    if not moved:
        return f"{open_[0].upper()}{open_[1:]} between {second} and {first}; {tests}."
    return f"{second} against {first}: {', '.join(moved)}{f'; {open_}' if open_ else ''}; {tests}."
