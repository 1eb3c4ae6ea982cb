"""Agreement of judges with people: worked tables, groups, and judges that are worth nothing."""

import json
from pathlib import Path

import pytest

from wikillama.errors import InputError
from wikillama.evaluation.judging.calibrate import by_judge, calibrate, main
from wikillama.evaluation.judging.groundedness import GroundednessJudge
from wikillama.evaluation.judging.labelled import Labelled, read_labelled
from wikillama.evaluation.judging.verdict import LABELS, Label

TABLE = ((138, 9, 2), (11, 36, 1), (1, 1, 1))  # people in rows: kappa .6760, balanced accuracy .6698, accuracy .875
SCORE: dict[Label, float] = {"correct": 0.9, "wrong": 0.1, "ambiguous": 0.5}


def item(label: Label, reply: str = "x", source: str = "a", system: str | None = None) -> Labelled:
    return Labelled((), ("k",), reply, label, source, system)


def scored(table: tuple[tuple[int, ...], ...]) -> tuple[list[Labelled], list[float]]:
    cells = [(truth, said, table[r][c]) for r, truth in enumerate(LABELS) for c, said in enumerate(LABELS)]
    items = [item(truth) for truth, _, count in cells for _ in range(count)]
    return items, [SCORE[said] for _, said, count in cells for _ in range(count)]


def test_a_worked_table_of_three_labels() -> None:
    items, scores = scored(TABLE)
    found = calibrate(items, lambda _: scores, threshold=0.75, lower=0.25).overall
    assert found.table == TABLE
    assert found.labels == LABELS
    assert found.n == 200
    assert found.accuracy.value == pytest.approx(0.875)
    assert found.balanced_accuracy.value == pytest.approx(0.6698, abs=5e-5)
    assert found.kappa.value == pytest.approx(0.6760, abs=5e-5)
    for estimate in (found.accuracy, found.balanced_accuracy, found.kappa, found.auc):
        assert estimate is not None
        assert estimate.low < estimate.value < estimate.high
        assert estimate.high - estimate.low < 0.4


def test_a_judge_that_always_says_correct_has_no_kappa() -> None:
    items = [item("correct")] * 149 + [item("wrong")] * 51
    found = calibrate(items, lambda given: [1.0] * len(given)).overall
    assert found.table == ((149, 0), (51, 0))
    assert found.accuracy.value == pytest.approx(0.745)
    assert found.kappa.value == pytest.approx(0)
    assert (found.kappa.low, found.kappa.high) == pytest.approx((0, 0))
    assert found.balanced_accuracy.value == pytest.approx(0.5)
    assert found.auc is not None
    assert found.auc.value == pytest.approx(0.5)


def test_thresholds() -> None:
    items = [item("correct"), item("correct"), item("wrong"), item("wrong")]
    scores = [0.6, 0.5, 0.5, 0.2]
    assert calibrate(items, lambda _: scores).overall.table == ((2, 0), (1, 1))  # 0.5 is enough
    assert calibrate(items, lambda _: scores, threshold=0.51).overall.table == ((1, 1), (0, 2))
    banded = calibrate(items, lambda _: scores, threshold=0.6, lower=0.3)
    assert banded.overall.table == ((1, 0, 1), (0, 1, 1), (0, 0, 0))
    assert (banded.threshold, banded.lower) == (0.6, 0.3)


def test_auc_is_of_correct_against_the_rest() -> None:
    items = [item("correct"), item("correct"), item("wrong"), item("ambiguous")]
    found = calibrate(items, lambda _: [0.9, 0.3, 0.2, 0.4]).overall
    assert found.auc is not None
    assert found.auc.value == pytest.approx(3 / 4)
    assert calibrate(items[:2], lambda _: [0.9, 0.3]).overall.auc is None


def test_groups_by_source_and_system() -> None:
    items = [
        item("correct", source="a", system="s"), item("wrong", source="a", system="t"),
        item("wrong", source="b", system="s"), item("correct", source="b"),
    ]  # fmt: skip
    found = calibrate(items, lambda _: [0.9, 0.1, 0.8, 0.2])
    assert {name: group.table for name, group in found.by_source.items()} == {
        "a": ((1, 0), (0, 1)), "b": ((0, 1), (1, 0))
    }  # fmt: skip
    assert {name: group.n for name, group in found.by_system.items()} == {"s": 2, "t": 1}
    assert found.overall.n == 4


def test_it_is_json() -> None:
    told = calibrate([item("correct")], lambda _: [0.9]).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["overall"]["kappa"]["value"] is None  # both only ever say correct
    assert told["overall"]["accuracy"] == {"value": 1.0, "low": pytest.approx(0.2065, abs=1e-4), "high": 1.0, "n": 1}
    assert told["by_source"]["a"]["table"] == [[1, 0], [0, 0]]
    assert told["overall"]["auc"] is None


def test_the_same_twice() -> None:
    items, scores = scored(TABLE)
    first, second = (calibrate(items, lambda _: scores, 0.75, 0.25).to_json() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("scores", "threshold", "lower", "problem"),
    [
        ([0.5], 0.5, 0.6, "thresholds 0.6 and 0.5"),
        ([0.5], 1.5, None, "thresholds"),
        ([0.5, 0.5], 0.5, None, "2 scores for 1 replies"),
        ([1.5], 0.5, None, "within 0..1|score in 0..1"),
        ([float("nan")], 0.5, None, "score in 0..1"),
    ],
)
def test_bad_input(scores: list[float], threshold: float, lower: float | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        calibrate([item("correct")], lambda _: scores, threshold, lower)
    with pytest.raises(InputError, match="no labelled reply"):
        calibrate([], lambda _: [])


def test_a_judge_of_replies_is_a_scorer() -> None:
    items = [item("correct", "k"), item("wrong", "zebra")]
    found = calibrate(items, by_judge(GroundednessJudge()))
    assert found.overall.table == ((1, 0), (0, 1))


def test_groundedness_on_begin(judged: Path) -> None:
    found = calibrate(read_labelled(judged / "begin_dev_wow.tsv"), by_judge(GroundednessJudge()))
    assert 0.58 < found.overall.kappa.value < 0.68
    assert set(found.by_system) == {"gpt2", "t5", "ctrl", "doha"}
    assert sum(group.n for group in found.by_system.values()) == found.overall.n == 430


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [{"history": [], "knowledge": "tea", "reply": r, "label": n} for r, n in (("tea", 1), ("zebra", 0))]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert main([str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["table"] == [[1, 0], [0, 1]]
    assert main([str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err
