"""Every two systems on the same questions: what changed, whether that can be chance, and a sentence that says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from wikillama.evaluation.matrices import Labels, Transition, transition
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.statistics import (
    ChiSquare,
    McNemar,
    bowker,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    small_sample_warning,
    stuart_maxwell,
)
from wikillama.evaluation.wording import ALPHA, count, p_value, points


@dataclass(frozen=True, slots=True)
class TopicChange:
    """Correct answers of two systems within a topic of `n` questions; `p_holm` is corrected for all topics."""

    topic: str
    n: int
    first: int
    second: int
    won: int | None  # by the second; None where only counts are known
    lost: int | None
    p: float  # exact McNemar, or Fisher where only counts are known
    p_holm: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems on the same questions. `difference` is strict accuracy of the second minus that of the first, with a
    bootstrap interval over questions; `p_holm` is McNemar's p corrected for all pairs compared."""

    first: str
    second: str
    transition: Transition
    mcnemar: McNemar
    p_holm: float
    stuart_maxwell: ChiSquare
    bowker: ChiSquare
    difference: Estimate
    topics: tuple[TopicChange, ...]
    words: str
    warning: str | None  # of a small sample


def compare_pairs(labels: Mapping[str, Labels], topics: Mapping[str, str]) -> tuple[Pair, ...]:
    """Every two systems on the questions that both have labels for."""
    moves = []
    for (first, before), (second, after) in combinations(labels.items(), 2):
        both = [item for item in topics if item in before and item in after]
        if both:
            moves.append(transition({i: before[i] for i in both}, {i: after[i] for i in both}, first, second))
    tests = [mcnemar_exact(len(move.gained), len(move.lost)) for move in moves]
    corrected = holm([test.p for test in tests])
    return tuple(_pair(*parts, len(tests), topics) for parts in zip(moves, tests, corrected, strict=True))


def _pair(move: Transition, test: McNemar, p_holm: float, pairs: int, topics: Mapping[str, str]) -> Pair:
    won, lost = set(move.gained), set(move.lost)
    right = won | set(move.ids[0][0])  # under the second
    items = [item for cells in move.ids for cell in cells for item in cell]
    difference = paired_bootstrap([float(item in won) - (item in lost) for item in items], items)
    of_topic: dict[str, list[str]] = {topic: [] for topic in topics.values()}
    for item in items:
        of_topic[topics[item]].append(item)
    changes = []
    for topic, inside in of_topic.items():
        b, c, after = (len(some.intersection(inside)) for some in (won, lost, right))
        if inside:
            changes.append((topic, len(inside), after - b + c, after, b, c, mcnemar_exact(b, c).p))
    by_topic = tuple(TopicChange(*c, p) for c, p in zip(changes, holm([c[-1] for c in changes]), strict=True))
    said = _pair_in_words(move, test, p_holm, difference, pairs)
    tests, warning = (stuart_maxwell(move.counts), bowker(move.counts)), small_sample_warning(move.n)
    return Pair(move.row, move.column, move, test, p_holm, *tests, difference, by_topic, said, warning)


def _pair_in_words(move: Transition, test: McNemar, p_holm: float, difference: Estimate, pairs: int) -> str:
    tested = f"exact McNemar {p_value(p_holm)}" + (f" after Holm over {pairs} pairs" if pairs > 1 else "")
    if not test.b + test.c:
        same = f"both are right on the same {sum(move.counts[0])} of {count(move.n, 'question')}"
        return f"No detectable difference between {move.column} and {move.row}: {same}."
    if p_holm >= ALPHA:
        return f"No detectable difference between {move.column} and {move.row}: {points(difference)} ({tested})."
    if difference.value > 0:
        return f"{move.column} is better than {move.row} by {points(difference, signed=False)} ({tested})."
    fall = Estimate(-difference.value, -difference.high, -difference.low, difference.n)
    return f"{move.column} is worse than {move.row} by {points(fall, signed=False)} ({tested})."
