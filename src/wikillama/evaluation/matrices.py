"""Tables of labelled answers, one for each reading of "confusion matrix" that free answers allow.

Answers are free text, so there is no matrix of predicted against true classes. What can be tabulated: how labels moved
from one system to another over the same questions (`transition`), how two raters, or a judge and a human, label the
same answers (`agreement`), and how labels fall by topic (`topic_by_label`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

from wikillama.errors import InputError
from wikillama.evaluation.judging.verdict import LABELS as LABELS
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.statistics import balanced_accuracy, kappa

Labels = Mapping[str, str]  # item id -> label


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts of `n` items; `row` and `column` say what a row and a column stand for."""

    title: str
    row: str
    column: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    n: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no nan: undefined figures become null."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


@dataclass(frozen=True, slots=True)
class Transition(Matrix):
    """How labels moved; `ids` holds the ids behind each cell, in the items' order."""

    ids: tuple[tuple[tuple[str, ...], ...], ...]

    @property
    def gained(self) -> tuple[str, ...]:
        """Ids that were not correct and became so: b of McNemar's test is their number."""
        return tuple(item for row in self.ids[1:] for item in row[0])

    @property
    def lost(self) -> tuple[str, ...]:
        """Ids that were correct and no longer are: c of McNemar's test is their number."""
        return tuple(item for cell in self.ids[0][1:] for item in cell)


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Of one label: the share of the column, and of the row, that lies on the diagonal. nan where that is empty."""

    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Agreement(Matrix):
    """How far columns agree with rows. `kappa_correct` is of two classes, correct or not: "ambiguous" is often rare."""

    accuracy: float
    balanced_accuracy: float
    kappa: Estimate
    kappa_correct: Estimate
    by_label: dict[str, PrecisionRecall]


def transition(before: Labels, after: Labels, row: str = "before", column: str = "after") -> Transition:
    """Labels of the same items under two systems. Raises InputError for other ids or labels."""
    items = _same_items(before, after, row, column)
    ids = tuple(
        tuple(tuple(item for item in items if (before[item], after[item]) == (old, new)) for new in LABELS)
        for old in LABELS
    )
    counts = tuple(tuple(len(cell) for cell in cells) for cells in ids)
    return Transition(f"Labels from {row} to {column}", row, column, LABELS, LABELS, counts, len(items), ids)


def agreement(labels_a: Labels, labels_b: Labels, row: str = "human", column: str = "judge") -> Agreement:
    """Labels of the same answers by two raters, `labels_a` taken as the truth. Raises InputError as `transition`.

    Accuracy alone says little where most answers are correct: a judge that always says so has kappa 0.
    """
    items = _same_items(labels_a, labels_b, row, column)
    a, b = (torch.tensor([LABELS.index(labels[item]) for item in items]) for labels in (labels_a, labels_b))
    table = multiclass_confusion_matrix(b, a, num_classes=len(LABELS)).numpy()  # rows are its target
    right, of_row, of_column = np.diag(table), table.sum(1), table.sum(0)
    correct_or_not = np.add.reduceat(np.add.reduceat(table, [0, 1], 0), [0, 1], 1)
    return Agreement(
        title=f"Agreement of {column} with {row}",
        row=row,
        column=column,
        row_names=LABELS,
        column_names=LABELS,
        counts=_as_tuples(table),
        n=len(items),
        accuracy=float(right.sum() / len(items)),
        balanced_accuracy=balanced_accuracy(table),
        kappa=kappa(table),
        kappa_correct=kappa(correct_or_not),
        by_label={
            label: PrecisionRecall(_share(right[place], of_column[place]), _share(right[place], of_row[place]))
            for place, label in enumerate(LABELS)
        },
    )


def topic_by_label(labels: Labels, topics: Mapping[str, str], system: str = "system") -> Matrix:
    """One system's labels by topic, topics in the order of `topics`. Raises InputError as `transition`."""
    _same_ids(labels, topics, f"labels of {system}", "topics")
    _known_labels(labels, system)
    names = tuple(dict.fromkeys(topics.values()))
    table = np.zeros((len(names), len(LABELS)), int)
    for item, topic in topics.items():
        table[names.index(topic), LABELS.index(labels[item])] += 1
    return Matrix(f"Labels of {system} by topic", "topic", "label", names, LABELS, _as_tuples(table), len(labels))


def _same_items(first: Labels, second: Labels, name: str, other: str) -> Sequence[str]:
    _same_ids(first, second, f"labels of {name}", f"labels of {other}")
    _known_labels(first, name)
    _known_labels(second, other)
    return list(first)


def _same_ids(first: Mapping[str, str], second: Mapping[str, str], name: str, other: str) -> None:
    if not first:
        raise InputError(f"{name}: no items; label some first")
    differing = sorted(first.keys() ^ second.keys())
    if differing:
        lacking = other if differing[0] in first else name
        raise InputError(
            f"{name} and {other} are of different items: {differing[0]!r} is not in {lacking} "
            f"(one of {len(differing)}); compare the same items"
        )


def _known_labels(labels: Labels, name: str) -> None:
    for item, label in labels.items():
        if label not in LABELS:
            raise InputError(f"labels of {name}, item {item!r}: {label!r} is no label; use one of {', '.join(LABELS)}")


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _as_tuples(table: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in table)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
