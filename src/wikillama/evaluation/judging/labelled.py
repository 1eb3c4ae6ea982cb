"""Reads replies that people have labelled, from our own files and from public sets as they are published.

A set is told by its columns. What each of their labels means here:

| set | correct | wrong | ambiguous |
| --- | --- | --- | --- |
| BEGIN (google/BEGIN-dataset) | Fully attributable | Not fully attributable | Generic |
| Q2 (orhonovich/q-squared) | the file of the consistent | of the inconsistent | |
| FaithDial audit (McGill-NLP/FaithDial) | Entailment, Uncooperative | any hallucination | Generic |
| Alexa crowd (alexa/factual-consistency-analysis-of-dialogs) | Hallucination No | Yes | |
| DialFact (salesforce/DialFact) | SUPPORTS | REFUTES | NOT ENOUGH INFO |

In the FaithDial audit, uncooperative replies are entailed by the knowledge but do not answer. Alexa's replies that are
not verifiable have no label and are left out.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wikillama.errors import InputError
from wikillama.evaluation.judging.verdict import LABELS, Label

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A reply with what it answers to, the knowledge behind it and what people say of it.

    `source` names the set, `system` who wrote the reply.
    """

    history: tuple[str, ...]
    knowledge: tuple[str, ...]
    reply: str
    label: Label
    source: str
    system: str | None = None


def read_labelled(path: Path, label: Label | None = None) -> list[Labelled]:
    """The labelled replies of a file, in its order.

    Ours are JSON lines with `history` and `knowledge` (texts or lists of texts), `reply`, `label` (1, 0, or one of
    correct, wrong, ambiguous) and, if known, `source` and `system`. The public sets are read as they are published.
    `label` is for sets whose files are their labels (Q2); without it, the file's name has to say which it is.

    Raises InputError naming file and line for anything else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head = file.readline()
            file.seek(0)
            rows = list(_rows(file, head, path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a UTF-8 file of JSON lines, CSV or TSV") from error
    if not rows:
        raise InputError(f"{path}: the file holds no reply")
    columns = set(rows[0][1])
    reader = next((read for needed, read in _LAYOUTS if needed <= columns), None)
    if reader is None:
        raise InputError(f"{path}: no layout with the fields {sorted(columns)}; give history, knowledge, reply, label")
    found = []
    for number, row in rows:
        try:
            item = reader(row, label or _label_of_name(path.stem))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: line {number}: not a labelled reply ({error})") from error
        if item is not None:
            found.append(item if item.source else replace(item, source=path.stem))
    return found


def two_way(items: list[Labelled]) -> list[Labelled]:
    """The items with two labels: what is ambiguous is not correct, so it counts as wrong."""
    return [replace(item, label="wrong") if item.label == "ambiguous" else item for item in items]


def _rows(file: Any, head: str, path: Path) -> Iterator[tuple[int, Row]]:
    if head.lstrip().startswith("{"):
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"{path}: line {number}: broken or truncated JSON ({error.msg})") from error
        return
    tabs = "\t" in head
    # quotes in the tab-separated sets are part of the text
    table = csv.DictReader(
        file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL, strict=True
    )
    for row in table:
        yield table.line_num, row


def _ours(row: Row, _: Label | None) -> Labelled:
    return Labelled(
        history=_texts(row["history"]),
        knowledge=_texts(row["knowledge"]),
        reply=_text(row["reply"]),
        label=_one_of({"1": "correct", "0": "wrong", **{name: name for name in LABELS}}, row["label"]),
        source=str(row.get("source") or ""),
        system=row.get("system"),
    )


def _begin(row: Row, _: Label | None) -> Labelled:
    names: dict[str, Label] = {
        "fully attributable": "correct", "not fully attributable": "wrong", "generic": "ambiguous"
    }  # fmt: skip
    label = _one_of(names, row["begin_label"])
    return _of(row, "message", "knowledge", "response", label, f"begin_{row['data_source']}", row["model_name"])


def _q2(row: Row, label: Label | None) -> Labelled:
    if label is None:
        raise ValueError("the label of the Q2 sets is their file; pass label=, or name it consistent or inconsistent")
    return _of(row, "message", "knowledge", "response", label, "q2", "dodeca")


def _faithdial_people(row: Row, _: Label | None) -> Labelled:
    return _of(row, "history", "evidence", "response", _faithdial_label(row["BEGIN"]), "faithdial_audit", "human")


def _faithdial_models(row: Row, _: Label | None) -> Labelled:
    (system,) = row.keys() - {"knowledge", "history", "begin_label", "vrm_label"}
    return _of(row, "history", "knowledge", system, _faithdial_label(row["begin_label"]), "faithdial_audit", system)


def _faithdial_label(text: str) -> Label:
    """Of several labels, hallucination wins: the reply is not entailed as a whole."""
    if "hallucination" in text.lower():
        return "wrong"
    starts: dict[str, Label] = {"entail": "correct", "uncoop": "correct", "generi": "ambiguous"}
    return _one_of(starts, text[:6])  # some are misspelt


def _alexa(row: Row, _: Label | None) -> Labelled | None:
    if row["Verifiable"] != "y":
        return None
    turns = (re.sub(r"^[AB]:", "", turn.strip()).strip() for turn in row["context"].split("<br>"))
    return Labelled(
        history=tuple(turn for turn in turns if turn),
        knowledge=_texts(row["knowledge"]),
        reply=_text(row["response"]),
        label=_one_of({"no": "correct", "yes": "wrong"}, row["Hallucination"]),
        source="alexa_crowd",
        system=row["model_type"],
    )


def _dialfact(row: Row, _: Label | None) -> Labelled:
    names: dict[str, Label] = {"supports": "correct", "refutes": "wrong", "not enough info": "ambiguous"}
    return Labelled(
        history=_texts(row["context"]),
        knowledge=tuple(f"{title}. {sentence}" for title, _url, sentence, *_rest in row["evidence_list"]),
        reply=_text(row["response"]),
        label=_one_of(names, row["response_label"]),
        source="dialfact",
        system=row["data_type"],
    )


_LAYOUTS: list[tuple[set[str], Callable[[Row, Label | None], Labelled | None]]] = [
    ({"history", "knowledge", "reply", "label"}, _ours),
    ({"model_name", "data_source", "knowledge", "message", "response", "begin_label"}, _begin),
    ({"episode_idx", "round", "message", "response", "knowledge", "gold"}, _q2),
    ({"evidence", "history", "response", "BEGIN"}, _faithdial_people),
    ({"knowledge", "history", "begin_label", "vrm_label"}, _faithdial_models),
    ({"model_type", "context", "knowledge", "response", "Hallucination", "Verifiable"}, _alexa),
    ({"context", "response", "evidence_list", "response_label", "data_type"}, _dialfact),
]


def _of(row: Row, history: str, knowledge: str, reply: str, label: Label, source: str, system: str) -> Labelled:
    return Labelled(_texts(row[history]), _texts(row[knowledge]), _text(row[reply]), label, source, system)


def _texts(value: Any) -> tuple[str, ...]:
    """Of one text or several, those that are not empty."""
    return tuple(_text(text) for text in ([value] if isinstance(value, str) else value) if text.strip())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value.strip()


def _one_of(names: Mapping[str, Label], value: Any) -> Label:
    name = str(int(value) if isinstance(value, bool) else value).strip().lower()
    if name not in names:
        raise ValueError(f"label {value!r} is none of {', '.join(names)}")
    return names[name]


def _label_of_name(stem: str) -> Label | None:
    if "inconsistent" in stem:
        return "wrong"
    return "correct" if "consistent" in stem else None
