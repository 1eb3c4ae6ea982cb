"""How far a judge agrees with people: measure this before believing a judge.

    python -m wikillama.evaluation.judging.calibrate FILE...   # of the groundedness judge, as JSON

Accuracy alone says little: where three replies in four are right, always saying "correct" is right as often. Its kappa
is 0. Our bar: a judge with a kappa of .6 or more, over 100 items or more, may stand in for people; others do triage.
"""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wikillama.errors import InputError
from wikillama.evaluation.judging.groundedness import GroundednessJudge
from wikillama.evaluation.judging.labelled import Labelled, read_labelled, two_way
from wikillama.evaluation.judging.verdict import LABELS, Label, ReplyJudge
from wikillama.evaluation.resampling import Estimate, Floats, percentile_interval
from wikillama.evaluation.statistics import auc, balanced_accuracy, kappa, wilson

__all__ = ["Agreement", "Calibration", "Labelled", "Scorer", "by_judge", "calibrate", "read_labelled", "two_way"]

Scorer = Callable[[Sequence[Labelled]], Sequence[float]]  # in 0..1, how certain it is that a reply is correct
RESAMPLES, SEED = 2_000, 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge against people on `n` replies, with 95 % intervals.

    `table` has people's labels in its rows and the judge's in its columns, both in the order of `labels`. `auc` is the
    chance that the judge scores a correct reply above another; None where all or none are correct.
    """

    n: int
    labels: tuple[Label, ...]
    table: tuple[tuple[int, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    kappa: Estimate
    auc: Estimate | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Agreement at a threshold, of all items and of each source and system.

    A score of `threshold` or more means correct. Below `lower` it means wrong, and what lies between is ambiguous.
    """

    threshold: float
    lower: float
    overall: Agreement
    by_source: dict[str, Agreement]
    by_system: dict[str, Agreement]

    def to_json(self) -> dict[str, Any]:
        """As plain dicts, lists and numbers, with None for what is undefined (nan is not JSON)."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def by_judge(judge: ReplyJudge) -> Scorer:
    """The scores of a judge of replies."""
    return lambda items: [judge.judge_reply(item.history, item.knowledge, item.reply).score for item in items]


def calibrate(
    items: Sequence[Labelled], scorer: Scorer, threshold: float = 0.5, lower: float | None = None
) -> Calibration:
    """Score labelled replies and compare with their labels, in 2x2 tables, or in 3x3 if anything is ambiguous.

    Without `lower`, the judge never says ambiguous. Raises InputError for no items, thresholds in the wrong order, and
    scores that are not one a reply within 0..1.
    """
    lower = threshold if lower is None else lower
    if not 0 <= lower <= threshold <= 1:
        raise InputError(f"thresholds {lower} and {threshold}: give 0 <= lower <= threshold <= 1")
    if not items:
        raise InputError("calibration: no labelled reply; give some")
    scores = [float(score) for score in scorer(items)]
    if len(scores) != len(items) or not all(0 <= score <= 1 for score in scores):
        raise InputError(f"calibration: {len(scores)} scores for {len(items)} replies; give each one score in 0..1")
    three = lower < threshold or any(item.label == "ambiguous" for item in items)
    labels = LABELS if three else LABELS[:2]
    pairs = list(zip(items, scores, strict=True))

    def group(key: Callable[[Labelled], str | None]) -> dict[str, Agreement]:
        names = sorted({name for item in items if (name := key(item)) is not None})
        return {name: _agreement([p for p in pairs if key(p[0]) == name], labels, threshold, lower) for name in names}

    overall = _agreement(pairs, labels, threshold, lower)
    return Calibration(threshold, lower, overall, group(lambda i: i.source), group(lambda i: i.system))


def _agreement(
    pairs: Sequence[tuple[Labelled, float]], labels: tuple[Label, ...], threshold: float, lower: float
) -> Agreement:
    table = np.zeros((len(labels), len(labels)), np.int64)
    for item, score in pairs:
        said: Label = "correct" if score >= threshold else "wrong" if score < lower else "ambiguous"
        table[labels.index(item.label), labels.index(said)] += 1
    correct = [item.label == "correct" for item, _ in pairs]
    return Agreement(
        n=len(pairs),
        labels=labels,
        table=tuple(tuple(int(count) for count in row) for row in table),
        accuracy=wilson(int(np.trace(table)), len(pairs)),
        balanced_accuracy=percentile_interval(balanced_accuracy(table), _resampled_balance(table), len(pairs)),
        kappa=kappa(table, RESAMPLES, SEED),
        auc=auc([s for _, s in pairs], correct, RESAMPLES, SEED) if any(correct) and not all(correct) else None,
    )


def _resampled_balance(table: "np.typing.NDArray[np.int64]") -> Floats:
    """Balanced accuracy of tables drawn from the cells of one; labels that a draw lacks are left out of it."""
    n = int(table.sum())
    drawn = np.random.default_rng(SEED).multinomial(n, table.ravel() / n, RESAMPLES).reshape(-1, *table.shape)
    with np.errstate(invalid="ignore"):
        recalls = np.diagonal(drawn, axis1=1, axis2=2) / drawn.sum(2)
    return np.asarray(np.nanmean(recalls, axis=1))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def main(paths: Sequence[str]) -> int:
    """Print the calibration of the groundedness judge on labelled files. Gives the exit code: 0, or 2 for bad input."""
    try:
        items = two_way([item for path in paths for item in read_labelled(Path(path))])
        print(json.dumps(calibrate(items, by_judge(GroundednessJudge())).to_json(), indent=2))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
