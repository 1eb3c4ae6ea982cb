"""Labelled replies from our own lines and from public sets in their published layouts."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from wikillama.errors import InputError
from wikillama.evaluation.judging.labelled import Labelled, read_labelled, two_way

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return make


def line(**fields: object) -> str:
    return json.dumps({"history": ["Hi"], "knowledge": "Cats purr.", "reply": "They purr.", "label": 1} | fields)


def test_our_own_lines(write: Write) -> None:
    path = write("mine.jsonl", "\n".join([
        line(), "", line(label=False, knowledge=["Cats purr.", "Dogs bark."], history=""),
        line(label="Ambiguous", source="lab", system="base"), line(label="0"), line(label="wrong"),
    ]))  # fmt: skip
    items = read_labelled(path)
    assert [item.label for item in items] == ["correct", "wrong", "ambiguous", "wrong", "wrong"]
    assert items[0] == Labelled(("Hi",), ("Cats purr.",), "They purr.", "correct", "mine", None)
    assert items[1].knowledge == ("Cats purr.", "Dogs bark.")
    assert items[1].history == ()
    assert (items[2].source, items[2].system) == ("lab", "base")


BEGIN = "model_name\tdata_source\tknowledge\tmessage\tresponse\tbegin_label\n"
Q2 = ",episode_idx,round,topic,message,response,knowledge,gold\n0,4,1,Tea,hi,tea is hot,Tea is hot.,I see\n"


def test_begin_keeps_quotes(write: Write) -> None:
    path = write("any.tsv", BEGIN + 't5\twow\tA "quoted title\thi\tit is "quoted\tFully attributable\n'
                 "gpt2\ttc\tb\t\tc\tNot fully attributable\ngpt2\ttc\tb\t\tc\tGeneric\n")  # fmt: skip
    items = read_labelled(path)
    assert items[0] == Labelled(("hi",), ('A "quoted title',), 'it is "quoted', "correct", "begin_wow", "t5")
    assert [(i.label, i.source, i.history) for i in items[1:]] == [
        ("wrong", "begin_tc", ()), ("ambiguous", "begin_tc", ())
    ]  # fmt: skip


def test_q2_is_labelled_by_its_file(write: Write) -> None:
    assert read_labelled(write("x_consistent.csv", Q2))[0].label == "correct"
    assert read_labelled(write("x_inconsistent.csv", Q2))[0].label == "wrong"
    assert read_labelled(write("x.csv", Q2), label="wrong")[0] == Labelled(
        ("hi",), ("Tea is hot.",), "tea is hot", "wrong", "q2", "dodeca"
    )
    with pytest.raises(InputError, match=r"x\.csv: line 2: .*pass label="):
        read_labelled(write("x.csv", Q2))


def test_faithdial_audit(write: Write) -> None:
    people = read_labelled(write("g.csv", "evidence,history,response,BEGIN,VRM\n" + "".join(
        f"k,h,r,{label},Ack.\n" for label in
        ("Entailment", "Uncooperative", "Partial Hallucination", "Hallucination", "Generic"))))  # fmt: skip
    assert [i.label for i in people] == ["correct", "correct", "wrong", "wrong", "ambiguous"]
    assert {i.system for i in people} == {"human"}
    models = read_labelled(write("m.csv", "knowledge,history,doha,begin_label,vrm_label\n" + "".join(
        f'k,,r,"{label}",x\n' for label in
        ("entailment", "entailmentt,uncooperative", "entailment,hallucination", "generic"))))  # fmt: skip
    assert [i.label for i in models] == ["correct", "correct", "wrong", "ambiguous"]
    assert models[0] == Labelled((), ("k",), "r", "correct", "faithdial_audit", "doha")


def test_alexa_leaves_out_what_cannot_be_verified(write: Write) -> None:
    head = (
        "conv_index,model_type,decoding,context,knowledge,response,Avg Factual Correctness,Hallucination,Verifiable\n"
    )
    path = write("a.csv", head + '1,GPT2,DBS,"A: hi <br>B: hello <br>",k,r,1.0,No,y\n2,GPT2,DBS,,k,r,,,n\n'
                 "3,GPT2,DBS,,k,r,0.0,Yes,y\n")  # fmt: skip
    items = read_labelled(path)
    assert [i.label for i in items] == ["correct", "wrong"]
    assert items[0] == Labelled(("hi", "hello"), ("k",), "r", "correct", "alexa_crowd", "GPT2")


def test_dialfact(write: Write) -> None:
    row = {"context": ["hi ", "yes"], "response": "r", "evidence_list": [["Tea", "url", "It is hot.", "0"]],
           "response_label": "NOT ENOUGH INFO", "data_type": "written"}  # fmt: skip
    (item,) = read_labelled(write("d.jsonl", json.dumps(row)))
    assert item == Labelled(("hi", "yes"), ("Tea. It is hot.",), "r", "ambiguous", "dialfact", "written")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("e.jsonl", "", "holds no reply"),
        ("e.csv", "a,b\n1,2\n", r"no layout with the fields \['a', 'b'\]"),
        ("e.jsonl", '{"history": ', "line 1: broken or truncated JSON"),
        ("e.jsonl", line() + "\n" + line(label="good"), "line 2: .*'good' is none of 1, 0, correct"),
        ("e.jsonl", line(label=2), "line 1: .*label 2"),
        ("e.jsonl", line(reply=3), "line 1: .*3 is not text"),
        ("e.jsonl", line() + '\n{"reply": "x"}', "line 2: .*history"),
        ("e.tsv", BEGIN + "t5\twow\tonly\n", "line 2"),
        ("e.jsonl", "[1]", "holds no reply"),
        ("e.jsonl", "[1]\n[2]\n", "no layout"),
    ],
)
def test_bad_files(write: Write, name: str, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_labelled(write(name, text))


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_labelled(tmp_path / "none.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_labelled(tmp_path / "b.jsonl")


def test_two_way(write: Write) -> None:
    items = read_labelled(write("m.jsonl", "\n".join(line(label=label) for label in (1, 0, "ambiguous"))))
    assert [i.label for i in two_way(items)] == ["correct", "wrong", "wrong"]


@pytest.mark.parametrize(
    ("file", "labels", "systems"),
    [
        ("begin_dev_wow.tsv", (180, 250, 0), {"gpt2", "t5", "ctrl", "doha"}),
        ("begin_dev_tc.tsv", (74, 307, 2), {"gpt2", "t5", "ctrl", "doha"}),
        ("q2_dodeca_consistent.csv", (150, 0, 0), {"dodeca"}),
        ("q2_dodeca_inconsistent.csv", (0, 150, 0), {"dodeca"}),
        ("faithdial_audit_gold_wow.csv", (68, 122, 10), {"human"}),
        ("faithdial_audit_gpt2_wow.csv", (30, 163, 7), {"gpt2"}),
        ("faithdial_audit_doha_wow.csv", (40, 137, 23), {"doha"}),
        ("faithdial_audit_ctrl_wow.csv", (123, 72, 5), {"ctrl"}),
        ("alexa_factual_crowd_gt.csv", (675, 105, 0), None),
        ("alexa_factual_crowd_knn.csv", (463, 143, 0), None),
        ("alexa_factual_crowd_dpr.csv", (337, 146, 0), None),
        ("dialfact_testsmall.jsonl", (99, 103, 98), {"generated", "written"}),
    ],
)
def test_public_sets(judged: Path, file: str, labels: tuple[int, int, int], systems: set[str] | None) -> None:
    items = read_labelled(judged / file)
    counted = Counter(item.label for item in items)
    assert (counted["correct"], counted["wrong"], counted["ambiguous"]) == labels
    assert all(item.knowledge for item in items)
    found = {item.system for item in items}
    assert found == systems if systems else len(found) > 1
