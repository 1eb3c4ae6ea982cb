"""evaluate.py predictions=FILE: replies of any system, scored as its own would be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.errors import InputError
from wikillama.jobs.score_file import read_replies, score_file

GARDEN = {
    "reply": "I love gardening, it is considered a relaxing activity.",
    "references": ["I live on a farm, we garden all year long, it is very relaxing."],
    "knowledge": "Gardening is considered by many people to be a relaxing activity.",
}


@pytest.fixture
def score(compose: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`score(line, ...)`: what evaluate.py writes to `out` for a file of these lines."""

    def run(*lines: Any) -> Any:
        file, out = tmp_path / "replies.jsonl", tmp_path / "deep" / "scores.json"
        file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
        cfg = compose(f"predictions={file}", f"out={out}", "evaluation.resamples=200", name="evaluate")
        returned = score_file(cfg)
        assert json.loads(out.read_text("utf-8")) == returned
        return returned

    return run


def test_worked_vectors(score: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = score(GARDEN)
    assert (found["replies"], found["resamples"]) == (1, 200)
    metrics = found["metrics"]
    assert metrics["f1"] == {"value": pytest.approx(0.3809524), "low": None, "high": None, "n": 1}
    assert metrics["kf1"]["value"] == pytest.approx(0.5555556)
    assert "nrefs:1" in found["sacrebleu"]
    assert "rare_f1" not in metrics  # there is no training split to be rare in
    shown = capsys.readouterr().out
    assert "replies.jsonl: 1 replies" in shown
    assert "0.3810" in shown
    assert "0.5556" in shown


def test_knowledge_and_history_are_text_or_a_list(score: Callable[..., Any]) -> None:
    asked = "Do you like gardening?"
    text = score({**GARDEN, "history": asked})["metrics"]
    assert score({**GARDEN, "knowledge": [GARDEN["knowledge"]], "history": [asked]})["metrics"] == text
    assert text["relevance_history"]["value"] > 0
    halves = ["Gardening is considered by many people", "to be a relaxing activity."]
    assert score({**GARDEN, "knowledge": halves})["metrics"]["kf1"] == text["kf1"]


@pytest.mark.parametrize("none", [{}, {"knowledge": None}, {"knowledge": ""}, {"knowledge": []}])
def test_without_knowledge_there_is_no_knowledge_f1(score: Callable[..., Any], none: dict[str, Any]) -> None:
    line = {key: value for key, value in GARDEN.items() if key != "knowledge"} | none
    metrics = score(line)["metrics"]
    assert metrics["f1"]["value"] == pytest.approx(0.3809524)
    assert not {"kf1", "know_precision", "kf1_parlai"} & metrics.keys()
    both = score(line, GARDEN)["metrics"]
    assert (both["kf1"]["n"], both["kf1"]["value"]) == (1, pytest.approx(0.5555556))


def test_the_best_of_several_references_counts(score: Callable[..., Any]) -> None:
    found = score({**GARDEN, "references": [*GARDEN["references"], GARDEN["reply"]]})
    assert found["metrics"]["f1"]["value"] == 1
    assert "nrefs:2" in found["sacrebleu"]


def test_turns_of_one_dialogue_are_resampled_together(score: Callable[..., Any]) -> None:
    right, wrong = {**GARDEN, "reply": GARDEN["references"][0]}, {**GARDEN, "reply": "Zebras."}
    apart = score(right, right, wrong, wrong)["metrics"]["f1"]
    assert (apart["value"], apart["n"]) == (0.5, 4)
    assert (apart["low"], apart["high"]) == (0.0, 1.0)
    mixed = score(*({**line, "dialogue": n} for n in "ab" for line in (right, wrong)))["metrics"]["f1"]
    assert (mixed["low"], mixed["high"]) == (0.5, 0.5)
    one = score(*({**line, "dialogue": "a"} for line in (right, wrong)))["metrics"]["f1"]
    assert (one["value"], one["low"]) == (0.5, None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"reply": "Half of', "unexpected end|EOF|control|unterminated"),
        ("[1, 2]", "not a JSON object"),
        ({"references": ["Yes."]}, "no field 'reply'"),
        ({"reply": "Yes."}, "no field 'references'"),
        ({"reply": 3, "references": ["Yes."]}, "'reply' is not text"),
        ({"reply": "Yes.", "references": []}, "'references' is empty"),
        ({"reply": "Yes.", "references": None}, "'references' is empty"),
        ({"reply": "Yes.", "references": [1]}, "'references' is neither text nor a list of texts"),
        ({**GARDEN, "knowledge": {"title": "Gardening"}}, "'knowledge' is neither text nor a list of texts"),
        ({**GARDEN, "history": 7}, "'history' is neither text nor a list of texts"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: Any, reason: str) -> None:
    file = tmp_path / "replies.jsonl"
    bad = line if isinstance(line, str) else json.dumps(line)
    file.write_text(f"{json.dumps(GARDEN)}\n\n{bad}\n", "utf-8")
    with pytest.raises(InputError, match=rf"replies\.jsonl: line 3: .*({reason})") as caught:
        read_replies(file)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_reply_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text("\n \n", "utf-8")
    with pytest.raises(InputError, match="the file holds no reply"):
        read_replies(file)


def test_where_nothing_can_be_written_it_says_so(compose: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text(json.dumps(GARDEN), "utf-8")
    cfg = compose(f"predictions={file}", f"out={file}/scores.json", "evaluation.resamples=10", name="evaluate")
    with pytest.raises(InputError, match=r"out=.*replies\.jsonl/scores\.json: cannot be written"):
        score_file(cfg)
