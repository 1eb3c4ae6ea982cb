"""Every two systems on the same held-out turns: by how much a metric of the corpus differs, and whether by chance.

The interval is of a paired bootstrap (Koehn 2004): both systems on the same drawn dialogues, the metric of each, their
difference. The p value is of approximate randomization, which stays right where dialogues are few; the interval is too
narrow there. Both are over dialogues, since turns of one dialogue resemble each other.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from wikillama.evaluation.corpus_metrics import Reply, bleu_counts, corpus_bleu
from wikillama.evaluation.metrics import knowledge_overlap, rouge_l
from wikillama.evaluation.resampling import (
    Estimate,
    Floats,
    approximate_randomization,
    cluster_sums,
    percentile_interval,
    resampled_sums,
)
from wikillama.evaluation.results import Prediction
from wikillama.evaluation.statistics import holm

FEW_DIALOGUES = 30


@dataclass(frozen=True, slots=True)
class MetricPair:
    """A metric of two systems over the turns that both answered and that it counts: `difference.n` turns of `dialogues`
    dialogues. `difference` is the second's minus the first's; `p_holm` is corrected for all pairs of this metric."""

    metric: str  # as in `corpus_metrics.score_replies`, or loss, ppl, bits_per_byte
    first: str
    second: str
    before: float  # of the first
    after: float
    difference: Estimate
    dialogues: int
    p: float
    p_holm: float


def _ratio(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] / sums[:, 1])


def _exp_ratio(sums: Floats) -> Floats:
    return np.exp(_ratio(sums))


# what a metric is of the sums over turns that `_columns` gives
_OF_SUMS: dict[str, tuple[Callable[[Floats], Floats], int]] = {
    "loss": (_ratio, 2),
    "ppl": (_exp_ratio, 2),
    "bits_per_byte": (_ratio, 2),
    "f1": (_ratio, 2),
    "kf1": (_ratio, 2),
    "know_precision": (_ratio, 2),
    "rouge_l": (_ratio, 2),
    "bleu4": (corpus_bleu, 10),
}
PAIRED_METRICS = tuple(_OF_SUMS)
_PER_TOKEN = ("loss", "ppl")

_Key = tuple[object, ...]
_Columns = dict[str, tuple[float, ...]]  # of a turn, by metric; one that does not count the turn is not there


@dataclass(frozen=True, slots=True)
class _Turn:
    dialogue: str
    tokens: int | None
    columns: _Columns


def compare_turns(
    systems: Mapping[str, Sequence[Prediction]], resamples: int = 10_000, seed: int = 0
) -> tuple[MetricPair, ...]:
    """Every two systems on the turns that both replied to, metric by metric.

    A turn is the same where id, history, knowledge of the human and reference are; systems without a turn in common
    give no pair. Loss and perplexity are left out for two systems that cut the references into other tokens.
    """
    turns = {name: _turns(predictions) for name, predictions in systems.items()}
    found = [
        pair
        for first, second in combinations(systems, 2)
        for pair in _compare_two(first, second, turns[first], turns[second], resamples, seed)
    ]
    corrected: dict[int, float] = {}
    for metric in PAIRED_METRICS:
        places = [place for place, pair in enumerate(found) if pair[0] == metric]
        corrected.update(zip(places, holm([found[place][-1] for place in places]), strict=True))
    return tuple(MetricPair(*pair, corrected[place]) for place, pair in enumerate(found))


def estimates(predictions: Sequence[Prediction], resamples: int = 10_000, seed: int = 0) -> dict[str, Estimate]:
    """The same metrics of one system, each with its interval over resampled dialogues; empty for no predictions."""
    turns = list(_turns(predictions).values())
    metrics = [name for name in PAIRED_METRICS if any(name in turn.columns for turn in turns)]
    if not metrics:
        return {}
    sums = _sums(turns, metrics)
    drawn = _statistic(metrics)(resampled_sums(sums, resamples, seed))
    values = _statistic(metrics)(sums.sum(0, keepdims=True))[0]
    found = {}
    for place, name in enumerate(metrics):
        counted = [turn for turn in turns if name in turn.columns]
        found[name] = _interval(float(values[place]), drawn[:, place], counted)
    return found


def few_dialogues_warning(dialogues: int) -> str | None:
    """What so few dialogues cannot tell, in words; None where they are enough for the bootstrap."""
    if dialogues < 6:  # 2 of 2^5 swaps are more than 5 %
        return f"{dialogues} dialogues: no difference over so few can be significant"
    if dialogues < FEW_DIALOGUES:
        return f"{dialogues} dialogues: intervals over so few are too narrow; go by p"
    return None


def turn_key(turn: Prediction) -> _Key:
    """Equal for two systems' replies to the same turn."""
    return turn.id, turn.dialogue_id, tuple(turn.history), turn.gold_knowledge, turn.reference


def _turns(predictions: Sequence[Prediction]) -> dict[_Key, _Turn]:
    bleu = bleu_counts([Reply(p.reply, (p.reference,), None, (), None, p.dialogue_id) for p in predictions])
    return {
        turn_key(p): _Turn(p.dialogue_id, p.tokens, _columns(p) | {"bleu4": tuple(counts)})
        for p, counts in zip(predictions, bleu, strict=True)
    }


def _columns(turn: Prediction) -> _Columns:
    """What the turn adds to the sums that each metric is of."""
    columns: _Columns = {"f1": (turn.f1, 1), "rouge_l": (rouge_l(turn.reply, (turn.reference,)), 1)}
    if turn.nll is not None and turn.tokens:
        columns["loss"] = columns["ppl"] = (turn.nll, turn.tokens)
        columns["bits_per_byte"] = (turn.nll / math.log(2), len(turn.reference.encode()))
    known = knowledge_overlap(turn.reply, (turn.gold_knowledge,)) if turn.gold_knowledge else None
    if known is not None and turn.kf1 is not None:
        columns |= {"kf1": (turn.kf1, 1), "know_precision": (known.precision, 1)}
    return columns


def _compare_two(
    first: str,
    second: str,
    before: Mapping[_Key, _Turn],
    after: Mapping[_Key, _Turn],
    resamples: int,
    seed: int,
) -> list[tuple[str, str, str, float, float, Estimate, int, float]]:
    """All of a `MetricPair` but the correction."""
    both = [key for key in before if key in after]
    old, new = [before[key] for key in both], [after[key] for key in both]
    metrics = [
        name
        for name in PAIRED_METRICS
        if any(name in a.columns and name in b.columns for a, b in zip(old, new, strict=True))
    ]
    if any(a.tokens != b.tokens for a, b in zip(old, new, strict=True)):
        metrics = [name for name in metrics if name not in _PER_TOKEN]
    if not metrics:
        return []
    statistic = _statistic(metrics)
    counted = [[name in a.columns and name in b.columns for name in metrics] for a, b in zip(old, new, strict=True)]
    sums = np.hstack([_sums(old, metrics, counted), _sums(new, metrics, counted)])
    half = sums.shape[1] // 2
    drawn = resampled_sums(sums, resamples, seed)
    resampled = statistic(drawn[:, half:]) - statistic(drawn[:, :half])
    values = statistic(np.stack([sums[:, :half].sum(0), sums[:, half:].sum(0)]))
    ps = approximate_randomization(sums[:, :half], sums[:, half:], statistic, resamples, seed)
    found = []
    for place, name in enumerate(metrics):
        turns = [turn for turn, row in zip(old, counted, strict=True) if row[place]]
        a, b = map(float, values[:, place])
        difference = _interval(b - a, resampled[:, place], turns)
        found.append((name, first, second, a, b, difference, len({t.dialogue for t in turns}), float(ps[place])))
    return found


def _sums(turns: Sequence[_Turn], metrics: Sequence[str], counted: Sequence[Sequence[bool]] | None = None) -> Floats:
    """Sums by dialogue, the columns of each metric beside each other; of turns that do not count, nothing."""
    rows = []
    for place, turn in enumerate(turns):
        takes = [name in turn.columns for name in metrics] if counted is None else counted[place]
        rows.append(
            [
                value
                for name, take in zip(metrics, takes, strict=True)
                for value in (turn.columns[name] if take else (0.0,) * _OF_SUMS[name][1])
            ]
        )
    return cluster_sums(rows, [turn.dialogue for turn in turns])


def _statistic(metrics: Sequence[str]) -> Callable[[Floats], Floats]:
    """From totals (rows, columns) of metrics beside each other to their values (rows, metrics)."""
    edges = list(pairwise(np.cumsum([0, *(_OF_SUMS[name][1] for name in metrics)])))

    def statistic(totals: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # nan for a resample without a turn that counts
            parts = zip(metrics, edges, strict=True)
            return np.column_stack([_OF_SUMS[name][0](totals[:, low:high]) for name, (low, high) in parts])

    return statistic


def _interval(value: float, resampled: Floats, turns: Sequence[_Turn]) -> Estimate:
    if len({turn.dialogue for turn in turns}) < 2:  # resamples of one dialogue do not vary
        return Estimate(value, math.nan, math.nan, len(turns))
    return percentile_interval(value, resampled, len(turns))
