"""What runs have in common is compared, and what they have not is said; and the page that says it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import pytest
from invented import replies, study_labels, system

from wikillama.evaluation.report.runs import result_in_words, runs_table, write_comparison
from wikillama.evaluation.results import Answer, Prediction
from wikillama.evaluation.run_comparison import Candidate, Row, RunComparison, compare_suite, run_remarks
from wikillama.evaluation.statistics import holm, mcnemar_exact, wilson
from wikillama.evaluation.wording import MINUS, NOTHING

EVIL = "<script>alert('x')</script>"


def answers(labels: Mapping[str, str], reply: str = "It is that one.") -> tuple[Answer, ...]:
    return system("", labels, reply).answers


def asked(name: str, labels: Mapping[str, str], **other: Any) -> Candidate:
    return replace(Candidate(name, "gold", "lexical-1", answers=answers(labels)), **other)


def scored(name: str, turns: Sequence[Prediction], knowledge: str = "gold") -> Candidate:
    return Candidate(name, knowledge, "", predictions=tuple(turns))


TURNS = [replace(t, nll=40.0, tokens=16) for t in replies([f"d{i}" for i in range(8)])]
BETTER = [replace(t, nll=30.0 + i, f1=0.6 + 0.01 * i) for i, t in enumerate(TURNS)]


def test_questions_are_compared_in_pairs() -> None:
    found = compare_suite("qa200", [asked(name, study_labels(i)) for i, name in enumerate(("base", "full", "qlora"))])
    names = [(pair.first, pair.second) for pair in found.pairs]
    assert names == [("base", "full"), ("base", "qlora"), ("full", "qlora")]
    tests = [mcnemar_exact(len(pair.transition.gained), len(pair.transition.lost)).p for pair in found.pairs]
    assert [pair.mcnemar.p for pair in found.pairs] == tests
    assert tuple(pair.p_holm for pair in found.pairs) == holm(tests)
    counted = found.counted["qlora"]
    assert (counted.correct, counted.wrong, counted.ambiguous, counted.share) == (149, 48, 3, wilson(149, 200))
    assert found.remarks == ()
    assert found.metrics == {}


def test_turns_are_compared_in_pairs() -> None:
    found = compare_suite("seen", [scored("a", TURNS), scored("b", BETTER)])
    by_metric = {pair.metric: pair for pair in found.metric_pairs}
    assert by_metric["f1"].p == 2 / 2**8
    assert by_metric["loss"].difference.value == pytest.approx((sum(30 + i for i in range(8)) - 320) / 128)
    assert found.metrics["a"]["ppl"].value == pytest.approx(math.exp(2.5))
    assert found.metrics["a"]["f1"].n == 8
    assert found.counted == {}
    assert found.remarks == ()


def test_only_what_both_were_given_is_compared() -> None:
    labels = study_labels(0)
    few = dict(list(labels.items())[:30])
    found = compare_suite("qa200", [asked("all", labels), asked("few", few)])
    assert found.pairs[0].transition.n == 30
    assert found.remarks == (
        "Not all were given the same questions: 200 questions (all), 30 questions (few); two are compared on what both "
        "were given.",
    )
    rest = dict(list(labels.items())[30:])
    found = compare_suite("qa200", [asked("few", few), asked("rest", rest)])
    assert found.pairs == ()
    assert "few and rest have no question in common: not compared." in found.remarks


def test_a_question_is_the_same_by_its_words() -> None:
    labels = {"cars-1": "correct", "cars-2": "wrong"}
    other = tuple(replace(a, question=f"{a.question} Really?") for a in answers(labels))
    three = [asked("a", labels), replace(asked("b", labels), answers=other), replace(asked("c", labels), answers=other)]
    found = compare_suite("qa200", three)
    assert [(pair.first, pair.second, pair.transition.n) for pair in found.pairs] == [("b", "c", 2)]
    assert "a and b; a and c have no question in common: not compared." in found.remarks
    turns = [replace(t, history=("Other.",)) for t in TURNS]
    found = compare_suite("seen", [scored("a", TURNS), scored("b", turns)])
    assert found.metric_pairs == ()
    assert "a and b have no turn in common: not compared." in found.remarks


def test_labels_of_two_judges_are_not_compared() -> None:
    labels = study_labels(0)
    three = [asked("a", labels), asked("b", labels), asked("c", labels, judge="llama-judge")]
    found = compare_suite("qa200", three)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b")]
    assert found.remarks == (
        "Judge differs: lexical-1 (a, b), llama-judge (c); labels of different judges are not compared.",
    )


def test_other_knowledge_is_said() -> None:
    labels = study_labels(0)
    unseen = tuple(replace(a, knowledge=()) for a in answers(labels))
    found = compare_suite("qa200", [asked("a", labels), asked("b", labels, knowledge="none", answers=unseen)])
    assert len(found.pairs) == 1
    assert found.remarks == (
        "Knowledge differs: gold (a), none (b); differences are of the knowledge as well as of the systems.",
    )
    other = [replace(TURNS[0], knowledge=("Else.",)), *TURNS[1:]]
    found = compare_suite("seen", [scored("a", TURNS), scored("b", other)])
    assert found.remarks == ("a and b saw other knowledge with the same turns, though in the same mode.",)


def test_perplexity_needs_losses_of_the_same_tokens() -> None:
    finer = [replace(t, tokens=20) for t in TURNS]
    found = compare_suite("seen", [scored("a", TURNS), scored("b", finer)])
    assert found.remarks == ("a and b cut replies into other tokens: perplexity is not compared, bits per byte are.",)
    old = [replace(t, nll=None, tokens=None) for t in TURNS]
    found = compare_suite("seen", [scored("a", TURNS), scored("old", old)])
    assert found.remarks == ("No loss a turn is kept of old: perplexity is not tested.",)
    assert {pair.metric for pair in found.metric_pairs} == {"f1", "kf1", "know_precision", "rouge_l", "bleu4"}


def row(name: str, **other: Any) -> Row:
    facts = {"training data": "0123", "base weights": "", "hardware": "2 cores", "commit": "abc"} | other.pop(
        "facts", {}
    )
    return replace(Row(name, name, f"{name}-id", "FINISHED", 0.0, 60.0, {"adapter, MB": 9.8}, facts), **other)


def test_what_makes_runs_less_comparable() -> None:
    assert run_remarks([row("a"), row("b", facts={"base weights": "1"})]) == ()  # one that is unknown differs from none
    other = row("b", facts={"training data": "4567", "hardware": "GPU"})
    found = run_remarks([row("a"), other, row("c", status="FAILED")])
    assert found == (
        "c is FAILED: its figures may be incomplete.",
        "Training data differs: 0123 (a, c), 4567 (b); differences are of the data as well.",
        "Hardware differs: 2 cores (a, c), GPU (b); seconds, memory and tokens a second are not comparable.",
    )


def compared(names: Sequence[str] = ("a", "b", "c")) -> RunComparison:
    evil = {"cars-1": "correct", "cars-2": "wrong", "art-1": "correct"}
    labels = [{**evil, "cars-2": "correct"}, evil, {**evil, "art-1": "wrong"}]
    questions = [Candidate(n, "gold", "j", answers=answers(labels[i % 3], EVIL)) for i, n in enumerate(names)]
    turns = [scored(n, BETTER if i else TURNS) for i, n in enumerate(names)]
    rows = [row(name) for name in names]
    rows[-1] = replace(rows[-1], status="RUNNING", seconds=None, costs={})
    params = {"peft.r": [str(i) for i in range(len(names))], "prompt.system": [EVIL] * (len(names) - 1) + [""]}
    suites = (compare_suite("qa200", questions), compare_suite("seen", turns))
    return RunComparison(tuple(rows), params, suites, run_remarks(rows), 10_000)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(compared(), tmp_path_factory.mktemp("runs"), {"date": "today"})


def plain(page: Path) -> str:
    body = page.read_text("utf-8").partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_page_says_it_all(page: Path) -> None:
    said = plain(page)
    assert said.startswith(f"3 runs compared qa200 No detectable difference between b and a: {MINUS}33.3 points")
    assert f"b against a: perplexity {MINUS}4.07 [" in said
    assert re.search(r"F1 \+\.135 \[\+\.1[12]\d,\+\.15\d\] \(p = \.023\)", said)
    assert "c is RUNNING: its figures may be incomplete." in said
    for line in (
        "qa200: correct 3 of 3, 1.000",
        f"adapter, MB 9.8 9.8 {NOTHING}",
        f"run, s 60 60 {NOTHING}",
        "id a-id b-id c-id",
    ):
        assert line in said
    assert "parameter a b c peft.r 0 1 2" in said
    assert "1 parameter that not all of them have" in said
    assert f"a b 3 0 1 {MINUS}33.3 points" in said  # from, to, n, won, lost
    assert "knowledge-F1 .400 .400 .000 [.000,.000] p = 1.000 p = 1.000 8 of 8" in said
    assert "date today" in said


def test_the_page_needs_nothing_and_escapes(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    tags = re.findall(r"<[a-z][^>]*>", text)
    sources = [found for tag in tags for found in re.findall(r'\s(?:src|href|srcset)="([^"]*)"', tag)]
    assert {source.partition(",")[0] for source in sources if source[0] != "#"} == {"data:image/png;base64"}
    assert {source[1:] for source in sources if source[0] == "#"} <= set(re.findall(r'id="([^"]*)"', text))
    assert "default-src 'none'" in unescape(text)
    markdown = page.with_suffix(".md").read_text("utf-8")
    assert "<script" not in markdown.replace("\\<script", "")
    assert "| peft.r | 0 | 1 | 2 |" in markdown
    assert "![Metrics with intervals, and differences from the first; tables below](comparison.png)" in markdown


def test_files_beside_the_page(page: Path) -> None:
    found = {path.name for path in page.parent.iterdir()}
    assert found == {"comparison.html", "comparison.md", "comparison.json", "comparison.png"}
    assert (page.parent / "comparison.png").read_bytes().startswith(b"\x89PNG")
    kept = orjson.loads((page.parent / "comparison.json").read_bytes())
    assert kept["provenance"] == {"date": "today"}
    assert [suite["suite"] for suite in kept["comparison"]["suites"]] == ["qa200", "seen"]
    assert kept["comparison"]["suites"][0]["answers"] == {}  # they are in the runs
    assert kept["comparison"]["params"]["peft.r"] == ["0", "1", "2"]


def test_many_runs_are_lines_and_few_intervals(tmp_path: Path) -> None:
    many = compared(("a", "b", "c", "d", "e", "f"))
    said = plain(write_comparison(many, tmp_path, {}))
    columns = "run qa200: correct seen: perplexity seen: F1 seen: knowledge-F1 adapter, MB run, s began (UTC) status id"
    assert columns in said
    assert "Questions won and lost are listed for the first 6 pairs." in said
    assert "Holm, 15 pairs" in said
    told = result_in_words(many.suites[1])
    for name, sentence in zip("bcdef", told, strict=False):  # with the first alone
        assert f" between {name} and a; paired tests over dialogues, Holm over 15 pairs." in sentence
    assert told[5:] == ["Few dialogues, 8 dialogues: intervals over so few are too narrow; go by p."]
    bare = runs_table(many, intervals=False)
    assert bare.lines[0][:2] == ("3 of 3, 1.000", "12.18")


def test_runs_that_differ_in_nothing(tmp_path: Path) -> None:
    same = replace(compared(("a", "b")), params={})
    assert "Configuration The same in all runs." in plain(write_comparison(same, tmp_path, {}))
