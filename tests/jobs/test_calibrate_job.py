"""evaluate.py calibrate=true: how far the judge of replies agrees with people."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.errors import InputError
from wikillama.jobs.calibrate import calibrate_judge

KNOWN = "The Eiffel Tower in Paris was built by Gustave Eiffel in 1889."
BORNE_OUT = (
    "The Eiffel Tower was built in 1889.",
    "Gustave Eiffel built it in Paris.",
    "The tower in Paris is of 1889.",
)
INVENTED = (
    "Penguins swim around Antarctica in winter.",
    "My sister sells seven guitars in Berlin.",
    "Bananas ripen fast.",
)


def lines(labels: tuple[Any, Any], replies: tuple[tuple[str, ...], tuple[str, ...]] = (BORNE_OUT, INVENTED)) -> str:
    rows = [
        {"history": "Hi!", "knowledge": [KNOWN], "reply": reply, "label": label, "source": "ours", "system": system}
        for label, kind, system in zip(labels, replies, ("careful", "bold"), strict=True)
        for reply in kind
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def calibrate(compose: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`calibrate(text, ...)`: what evaluate.py writes to `out` for files of these texts."""

    def run(*texts: str, judge: str = "lexical") -> Any:
        files = [tmp_path / f"labelled_{n}.jsonl" for n in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, "utf-8")
        labelled = files[0] if len(files) == 1 else f"[{','.join(map(str, files))}]"
        out = tmp_path / "agreement.json"
        overrides = ("calibrate=true", f"labelled={labelled}", f"out={out}", f"judge={judge}")
        returned = calibrate_judge(compose(*overrides, name="evaluate"))
        assert json.loads(out.read_text("utf-8")) == json.loads(json.dumps(returned))
        return json.loads(out.read_text("utf-8"))

    return run


@pytest.mark.parametrize("labels", [(1, 0), ("correct", "wrong"), ("1", "0"), (True, False)])
def test_zero_and_one_are_wrong_and_correct(
    calibrate: Callable[..., Any], labels: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = calibrate(lines(labels))
    assert found["judge"] == "groundedness-words-1"
    overall = found["overall"]
    assert overall["n"] == 6
    assert (overall["labels"], overall["table"]) == (["correct", "wrong"], [[3, 0], [0, 3]])
    assert overall["auc"]["value"] == overall["kappa"]["value"] == overall["accuracy"]["value"] == 1
    assert found["by_source"]["ours"]["n"] == 6
    assert {name: agreement["n"] for name, agreement in found["by_system"].items()} == {"careful": 3, "bold": 3}
    shown = capsys.readouterr().out
    assert "judge groundedness-words-1 against people" in shown
    assert "people \\ judge" in shown


def test_a_judge_that_people_contradict_agrees_with_nobody(calibrate: Callable[..., Any]) -> None:
    overall = calibrate(lines((0, 1)))["overall"]
    assert overall["table"] == [[0, 3], [3, 0]]
    assert (overall["auc"]["value"], overall["kappa"]["value"], overall["accuracy"]["value"]) == (0, -1, 0)


def test_ambiguous_replies_have_a_row_of_their_own(calibrate: Callable[..., Any]) -> None:
    overall = calibrate(lines(("correct", "ambiguous")))["overall"]
    assert overall["labels"] == ["correct", "wrong", "ambiguous"]
    assert overall["table"] == [[3, 0, 0], [0, 0, 0], [0, 3, 0]]


def test_several_files_count_together(calibrate: Callable[..., Any]) -> None:
    found = calibrate(lines((1, 0)), lines(("correct", "wrong")).replace('"ours"', '"theirs"'))
    assert found["overall"]["n"] == 12
    assert {name: agreement["n"] for name, agreement in found["by_source"].items()} == {"ours": 6, "theirs": 6}


def test_a_bad_label_is_named(calibrate: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"labelled_0\.jsonl: line 4: .*'perhaps'"):
        calibrate(lines(("correct", "perhaps")))


def test_people_cannot_be_compared_with_themselves(calibrate: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"judge=lexical\|chat\|local"):
        calibrate(lines((1, 0)), judge="human")
