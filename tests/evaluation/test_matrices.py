"""Tables of labels: what a cell counts, the ids behind it, and what is refused."""

import json
import math

import pytest

from wikillama.errors import InputError
from wikillama.evaluation.matrices import LABELS, PrecisionRecall, agreement, topic_by_label, transition
from wikillama.evaluation.statistics import mcnemar_exact, stuart_maxwell

TRANSITION = ((108, 13, 1), (36, 31, 1), (5, 4, 1))
HUMAN_BY_JUDGE = ((138, 9, 2), (11, 36, 1), (1, 1, 1))


def labelled(table: tuple[tuple[int, ...], ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Two labellings of the same items, with `table` as their cross table."""
    pairs = [
        (row, column)
        for row, counts in zip(LABELS, table, strict=True)
        for column, count in zip(LABELS, counts, strict=True)
        for _ in range(count)
    ]
    return {f"q{i}": row for i, (row, _) in enumerate(pairs)}, {f"q{i}": column for i, (_, column) in enumerate(pairs)}


def test_transition_counts_moves_and_names_their_items() -> None:
    before, after = labelled(TRANSITION)
    shuffled = dict(sorted(after.items()))
    found = transition(before, shuffled, "base", "tuned")
    assert found.counts == TRANSITION
    assert (found.title, found.row, found.column) == ("Labels from base to tuned", "base", "tuned")
    assert (found.row_names, found.column_names, found.n) == (LABELS, LABELS, 200)
    for row, cells in zip(LABELS, found.ids, strict=True):
        for column, ids in zip(LABELS, cells, strict=True):
            assert all((before[item], after[item]) == (row, column) for item in ids)
    assert sorted(item for cells in found.ids for ids in cells for item in ids) == sorted(before)
    assert (len(found.gained), len(found.lost)) == (41, 14)
    assert all(before[item] != "correct" == after[item] for item in found.gained)
    assert all(before[item] == "correct" != after[item] for item in found.lost)
    assert mcnemar_exact(len(found.gained), len(found.lost)).p == pytest.approx(0.000355, abs=5e-7)
    assert stuart_maxwell(found.counts).statistic == pytest.approx(14.8436, abs=5e-5)


def test_agreement_of_judge_and_human() -> None:
    found = agreement(*labelled(HUMAN_BY_JUDGE))
    assert found.counts == HUMAN_BY_JUDGE
    assert (found.title, found.row, found.column) == ("Agreement of judge with human", "human", "judge")
    assert found.accuracy == 0.875
    assert found.balanced_accuracy == pytest.approx(0.6698, abs=5e-5)
    assert found.kappa.value == pytest.approx(0.6760, abs=5e-5)
    assert found.kappa.low < found.kappa.value < found.kappa.high
    agreed, chance = (138 + 39) / 200, (149 * 150 + 51 * 50) / 200**2  # correct or not
    assert found.kappa_correct.value == pytest.approx((agreed - chance) / (1 - chance))
    assert found.by_label == {
        "correct": PrecisionRecall(138 / 150, 138 / 149),
        "wrong": PrecisionRecall(36 / 46, 36 / 48),
        "ambiguous": PrecisionRecall(1 / 4, 1 / 3),
    }


def test_a_judge_that_always_says_correct() -> None:
    human, judge = labelled(((149, 0, 0), (48, 0, 0), (3, 0, 0)))
    found = agreement(human, judge)
    assert (found.accuracy, round(found.balanced_accuracy, 3)) == (0.745, 0.333)
    assert found.kappa.value == pytest.approx(0)
    assert math.isnan(found.by_label["wrong"].precision)
    assert found.by_label["wrong"].recall == 0


def test_topics_keep_their_order() -> None:
    labels = {"a": "correct", "b": "wrong", "c": "correct", "d": "ambiguous"}
    found = topic_by_label(labels, {"d": "cars", "a": "art", "b": "cars", "c": "art"}, "tuned")
    assert found.row_names == ("cars", "art")
    assert found.counts == ((0, 1, 1), (2, 0, 0))
    assert (found.title, found.row, found.column, found.n) == ("Labels of tuned by topic", "topic", "label", 4)


def test_tables_become_json() -> None:
    before, after = {"a": "correct", "b": "wrong"}, {"a": "correct", "b": "correct"}
    moved = json.loads(json.dumps(transition(before, after).as_dict(), allow_nan=False))
    assert moved["counts"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert moved["ids"][1][0] == ["b"]
    agreed = json.loads(json.dumps(agreement(before, after).as_dict(), allow_nan=False))
    assert agreed["by_label"]["wrong"] == {"precision": None, "recall": 0}
    assert agreed["kappa"]["n"] == 2
    assert json.loads(json.dumps(topic_by_label(before, {"a": "cars", "b": "art"}).as_dict()))["n"] == 2


def test_other_items_or_labels_are_refused() -> None:
    labels = {"a": "correct", "b": "wrong"}
    for compare in (transition, agreement):
        with pytest.raises(InputError, match="'b' is not in labels of second"):
            compare(labels, {"a": "correct"}, "first", "second")
        with pytest.raises(InputError, match="'c' is not in labels of first"):
            compare(labels, {**labels, "c": "wrong"}, "first", "second")
        with pytest.raises(InputError, match="labels of second, item 'b': 'right' is no label; use one of correct"):
            compare(labels, {"a": "correct", "b": "right"}, "first", "second")
        with pytest.raises(InputError, match="no items"):
            compare({}, {})
    with pytest.raises(InputError, match="'b' is not in topics"):
        topic_by_label(labels, {"a": "cars"})
    with pytest.raises(InputError, match="'right' is no label"):
        topic_by_label({"a": "right"}, {"a": "cars"})
