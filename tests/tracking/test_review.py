"""Reviews in a real store: who judges what, blindness, and labels that nothing loses."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import mlflow
import pytest
from mlflow.entities import AssessmentSource
from mlflow.genai import label_schemas, review_queues

from wikillama.errors import InputError
from wikillama.tracking.review import VERDICTS, Answer, Progress, adjudicate, collect_review, create_review
from wikillama.tracking.review.key import Assignment, Key, open_place, read_key
from wikillama.tracking.run import open_client

SYSTEMS = ("zebra-70b", "aardvark-7b")  # neither is in any text that a reviewer sees
PEOPLE = ("ann", "bob")


def answers(items: int, systems: Sequence[str] = SYSTEMS) -> list[Answer]:
    return [
        Answer(
            item_id=f"cars-{n}",
            system=system,
            topic="cars",
            question=f"Question {n}?",
            reply=f"Reply {n}, {'short' if system == SYSTEMS[0] else 'long'}.",
            reference=f"Reference {n}",
            knowledge=(f"Passage {n}.",),
        )
        for n in range(items)
        for system in systems
    ]


def key_of(store: str, experiment: str) -> Key:
    return read_key(open_place(store, experiment))


def trace_of(store: str, experiment: str, annotator: str, item: int, system: str = SYSTEMS[0]) -> str:
    found = [
        assignment.trace_id
        for assignment in key_of(store, experiment).assignments
        if (assignment.annotator, *assignment.answer) == (annotator, f"cars-{item}", system)
    ]
    assert len(found) == 1
    return found[0]


def judge(trace_id: str, label: str, comment: str | None = None, user: str = "default", kind: str = "HUMAN") -> Any:
    """As MLflow's page does; it names the user "default" where the server knows no users."""
    return mlflow.log_feedback(
        trace_id=trace_id, name="verdict", value=label, rationale=comment, source=AssessmentSource(kind, user)
    )


def seen_order(store: str, experiment: str, annotator: str) -> list[tuple[str, str]]:
    """The answers of an annotator as MLflow's page goes through them: newest trace first."""
    theirs = {a.trace_id: a.answer for a in key_of(store, experiment).assignments if a.annotator == annotator}
    experiment_id = open_place(store, experiment).experiment_id
    traces = open_client(store).search_traces(locations=[experiment_id], include_spans=False)
    newest = sorted((trace.info for trace in traces), key=lambda info: -info.request_time)
    return [theirs[info.trace_id] for info in newest if info.trace_id in theirs]


def test_a_share_goes_to_everyone_and_the_rest_is_dealt_out(store: str) -> None:
    review = create_review(store, "dealt", answers(8), ["Ann", " bob "], overlap=0.5, seed=1)
    assert review.added == 24
    items: dict[str, dict[str, list[str]]] = {name: {} for name in PEOPLE}
    for assignment in key_of(store, "dealt").assignments:
        items[assignment.annotator].setdefault(assignment.item_id, []).append(assignment.system)
    assert [len(items[name]) for name in PEOPLE] == [6, 6]
    assert len(items["ann"].keys() & items["bob"].keys()) == 4
    assert all(sorted(systems) == sorted(SYSTEMS) for own in items.values() for systems in own.values())
    assert len({a.trace_id for a in key_of(store, "dealt").assignments}) == 24
    for name in PEOPLE:
        queue = review_queues.get_review_queue(review.queues[name])
        assert (queue.name, queue.users) == (f"Answers for {name}", [name])
        asked = [label_schemas.get_label_schema(schema_id=schema_id) for schema_id in queue.schema_ids]
        assert [(schema.name, tuple(schema.input.options), schema.enable_comment) for schema in asked] == [
            ("verdict", VERDICTS, True)
        ]
        assert "AMBIGUOUS" in str(asked[0].instruction)
        listed = {item.item_id for item in review_queues.list_review_queue_items(queue.queue_id)}
        assert listed == {a.trace_id for a in key_of(store, "dealt").assignments if a.annotator == name}


def test_nothing_that_a_reviewer_sees_names_a_system(store: str) -> None:
    mlflow.set_tracking_uri(store)
    with mlflow.start_run(experiment_id=open_client(store).create_experiment("elsewhere")) as active:
        review = create_review(store, "blind", answers(2), PEOPLE)
    client = open_client(store)
    traces = client.search_traces(locations=[review.experiment_id])
    assert len(traces) == 8
    tags = {"mlflow.traceName", "mlflow.artifactLocation", "mlflow.trace.spansLocation"}
    for trace in traces:
        assert trace.info.tags.keys() == tags
        assert trace.info.trace_metadata == {"mlflow.trace.infoFinalized": "true"}
        assert active.info.run_id not in json.dumps(trace.to_dict())
        span = trace.data.spans[0]
        n = span.inputs["question"].split()[1].rstrip("?")
        assert span.inputs == {
            "question": f"Question {n}?", "reference": f"Reference {n}", "knowledge": [f"Passage {n}."]
        }  # fmt: skip
        assert span.outputs in (f"Reply {n}, short.", f"Reply {n}, long.")
        assert trace.info.request_preview == (
            f"Question {n}?\n\n**Reference:** Reference {n}\n\n**Knowledge:**\n\n- Passage {n}."
        )
        assert trace.info.response_preview == span.outputs
    assert client.search_runs([review.experiment_id]) == []
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        dump = "\n".join(database.iterdump())
    assert "Reply 1, short." in dump
    assert not [system for system in SYSTEMS if system in dump]
    assert {a.system for a in key_of(store, "blind").assignments} == set(SYSTEMS)  # the key names them


def test_the_order_is_random_and_of_the_seed(store: str) -> None:
    for experiment, given, seed in (
        ("order", answers(6), 5), ("same", answers(6)[::-1], 5), ("other", answers(6), 6)
    ):  # fmt: skip
        create_review(store, experiment, given, PEOPLE, seed=seed)
    order = {
        name: seen_order(store, name, "ann") for name in ("order", "same", "other")
    } | {"bob": seen_order(store, "order", "bob")}  # fmt: skip
    assert order["order"] == order["same"]
    assert all(sorted(seen) == sorted(answer.key for answer in answers(6)) for seen in order.values())
    assert len({tuple(seen) for seen in order.values()} | {tuple(a.key for a in answers(6))}) == 4
    systems = [system for _, system in order["order"]]
    assert systems not in (list(SYSTEMS) * 6, sorted(systems), sorted(systems, reverse=True))


def test_creating_again_adds_nothing_and_loses_no_label(store: str) -> None:
    first = create_review(store, "again", answers(3), PEOPLE, overlap=1 / 3, seed=2)
    key = key_of(store, "again")
    for n, assignment in enumerate(key.assignments):
        judge(assignment.trace_id, VERDICTS[n % 3], f"comment {n}")
    before = collect_review(store, "again")
    assert len(before.labels) == len(key.assignments) == 8
    second = create_review(store, "again", answers(3)[::-1], [*PEOPLE][::-1], overlap=1 / 3, seed=2)
    assert second == replace(first, added=0)
    assert key_of(store, "again") == key
    assert collect_review(store, "again") == collect_review(store, "again") == before
    taken = key.assignments[0]
    review_queues.remove_items_from_review_queue(first.queues[taken.annotator], item_ids=[taken.trace_id])
    assert create_review(store, "again", answers(3), PEOPLE, overlap=1 / 3, seed=2).added == 1
    assert collect_review(store, "again") == before


def test_a_review_cut_short_is_completed(store: str) -> None:
    review = create_review(store, "cut", answers(3), ["ann"])
    lost = [a.trace_id for a in key_of(store, "cut").assignments][1:4]
    open_client(store).delete_traces(review.experiment_id, trace_ids=lost)
    assert create_review(store, "cut", answers(3), ["ann"]).added == 3
    assert sorted(seen_order(store, "cut", "ann")) == sorted(answer.key for answer in answers(3))
    judge(lost[0], "wrong")
    assert [label.label for label in collect_review(store, "cut").labels] == ["wrong"]


def test_one_more_system_goes_to_the_same_people(store: str) -> None:
    create_review(store, "more", answers(4), PEOPLE, overlap=0.5, seed=3)
    before = key_of(store, "more").assignments
    judge(before[0].trace_id, "correct")
    more = [*answers(4), *answers(5, ["quagga-13b"])]  # the fifth item is new
    assert create_review(store, "more", more, PEOPLE, overlap=0.5, seed=3).added == 6 + 1
    after = key_of(store, "more").assignments
    assert after[: len(before)] == before

    def people(assignments: Sequence[Assignment]) -> set[tuple[str, str]]:
        return {(a.item_id, a.annotator) for a in assignments if a.item_id != "cars-4"}

    assert people(after[len(before) :]) == people(before)
    assert len(collect_review(store, "more").labels) == 1


def changed(**to: Any) -> list[Answer]:
    return [replace(answers(1)[0], **to)]


@pytest.mark.parametrize(
    ("given", "people", "overlap", "seed", "message"),
    [
        ([], PEOPLE, 1.0, 0, "no answers"),
        (answers(1) + answers(1), PEOPLE, 1.0, 0, "two answers of zebra-70b to cars-0"),
        (answers(1) + changed(system="new", knowledge=()), PEOPLE, 1.0, 0, "would tell new"),
        (changed(reply="Another."), PEOPLE, 1.0, 0, "not the one under review"),
        (answers(1), ["ann", "Ann "], 1.0, 0, "different names"),
        (answers(1), [], 1.0, 0, "one or more"),
        (answers(1), ["default"], 1.0, 0, "nobody in particular"),
        (answers(1), PEOPLE, 1.5, 0, "give 0..1"),
        (answers(1), ["ann", "eve"], 1.0, 0, r"annotators=\['ann', 'bob'\]"),
        (answers(1), PEOPLE, 0.5, 0, r"overlap=1\.0"),
        (answers(1), PEOPLE, 1.0, 1, "seed=0"),
        (answers(1001, ["okapi-1b"]), PEOPLE, 1.0, 0, "lists 1000"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(
    store: str, given: list[Answer], people: list[str], overlap: float, seed: int, message: str
) -> None:
    create_review(store, "refusing", answers(1), PEOPLE)
    key = key_of(store, "refusing")
    with pytest.raises(InputError, match=message):
        create_review(store, "refusing", given, people, overlap, seed)
    assert key_of(store, "refusing") == key


def test_an_experiment_in_use_or_without_a_review_is_refused(store: str) -> None:
    client = open_client(store)
    client.create_run(client.create_experiment("training"), run_name="zebra")
    with pytest.raises(InputError, match="an experiment of its own"):
        create_review(store, "training", answers(1), PEOPLE)
    for experiment in ("training", "nowhere"):
        with pytest.raises(InputError, match=f"no review in experiment {experiment}"):
            collect_review(store, experiment)
        with pytest.raises(InputError, match=f"no review in experiment {experiment}"):
            adjudicate(store, experiment, "eve")


def test_the_last_label_counts_and_none_is_lost(store: str) -> None:
    started = datetime.now(UTC)
    create_review(store, "labels", answers(2, SYSTEMS[:1]), PEOPLE)
    trace = trace_of(store, "labels", "ann", 0)
    judge(trace, "wrong", "at first")
    judge(trace, "correct", "at second")
    third = judge(trace, "wrong", "at third")
    nobody = AssessmentSource("HUMAN", "default")
    mlflow.override_feedback(  # as the page does when a label is changed
        trace_id=trace, assessment_id=third.assessment_id, value="ambiguous", source=nobody
    )
    judge(trace_of(store, "labels", "bob", 0), "correct", user="Bob")
    judge(trace_of(store, "labels", "bob", 1), "correct", user="judge", kind="LLM_JUDGE")
    mlflow.log_feedback(trace_id=trace, name="style", value="nice", source=nobody)
    found = collect_review(store, "labels")
    assert [(a.answer, a.annotator, a.label, a.comment, a.topic) for a in found.labels] == [
        (("cars-0", SYSTEMS[0]), "ann", "ambiguous", None, "cars"),
        (("cars-0", SYSTEMS[0]), "bob", "correct", None, "cars"),
    ]
    assert [(a.annotator, a.label, a.comment) for a in found.history] == [
        ("ann", "wrong", "at first"),
        ("ann", "correct", "at second"),
        ("ann", "wrong", "at third"),
        ("ann", "ambiguous", None),
        ("bob", "correct", None),
    ]
    assert all(started <= label.time <= datetime.now(UTC) for label in found.history)
    assert found.progress == {"ann": Progress(1, 2), "bob": Progress(1, 2)}
    assert found.adjudication == Progress(0, 0)
    assert found.by_annotator() == {("cars-0", SYSTEMS[0]): {"ann": "ambiguous", "bob": "correct"}}


def test_another_user_in_a_queue_is_not_taken_for_its_annotator(store: str) -> None:
    create_review(store, "guest", answers(1, SYSTEMS[:1]), PEOPLE)
    judge(trace_of(store, "guest", "ann", 0), "wrong", user="bob")
    found = collect_review(store, "guest")
    assert [(label.annotator, label.label) for label in found.labels] == [("bob", "wrong")]
    assert found.progress == {"ann": Progress(0, 1), "bob": Progress(1, 1)}


def test_a_verdict_of_another_kind_is_refused(store: str) -> None:
    create_review(store, "odd", answers(1, SYSTEMS[:1]), PEOPLE)
    trace = trace_of(store, "odd", "ann", 0)
    judge(trace, "Correct!")
    with pytest.raises(InputError, match=f"{trace}: verdict is 'Correct!'"):
        collect_review(store, "odd")


def test_disagreements_are_adjudicated(store: str) -> None:
    create_review(store, "ruled", answers(3, SYSTEMS[:1]), PEOPLE)
    given = {"ann": ("correct", "correct", "wrong"), "bob": ("correct", "wrong", "ambiguous")}
    for name, labels in given.items():
        for item, label in enumerate(labels):
            judge(trace_of(store, "ruled", name, item), label, f"{item} *is* {label}" if name == "bob" else None)
    one, two = ("cars-1", SYSTEMS[0]), ("cars-2", SYSTEMS[0])
    before = collect_review(store, "ruled")
    assert before.disputed() == [one, two]
    assert before.settled() == {("cars-0", SYSTEMS[0]): "correct"}

    review = adjudicate(store, "ruled", "Eve")
    assert review.added == 2
    assert adjudicate(store, "ruled", "Eve") == replace(review, added=0)
    queue = review_queues.get_review_queue(name="Adjudication", experiment_id=review.experiment_id)
    assert (queue.queue_id, queue.users) == (review.queues["eve"], ["eve"])
    assert collect_review(store, "ruled") == replace(before, adjudication=Progress(0, 2))

    trace = open_client(store).get_trace(trace_of(store, "ruled", "eve", 1))
    assert trace.data.spans[0].inputs["verdicts"] == ["correct", "wrong: 1 *is* wrong"]
    assert "**Verdicts so far:**\n\n- correct\n- wrong: 1 \\*is\\* wrong\n" in trace.info.request_preview
    assert not [name for name in (*PEOPLE, *SYSTEMS) if name in json.dumps(trace.to_dict())]

    judge(trace.info.trace_id, "wrong")
    judge(trace.info.trace_id, "ambiguous", "on second thoughts")
    after = collect_review(store, "ruled")
    assert after.settled() == {("cars-0", SYSTEMS[0]): "correct", one: "ambiguous"}
    assert (after.adjudication, after.progress) == (Progress(1, 2), before.progress)
    assert after.by_annotator() == before.by_annotator()
    assert [label for label in after.labels if not label.adjudicates] == list(before.labels)
    assert len(after.history) == len(before.history) + 2

    judge(trace_of(store, "ruled", "bob", 1), "correct")  # they agree now, but the ruling stands
    judge(trace_of(store, "ruled", "ann", 0), "wrong")  # and here they no longer do
    assert adjudicate(store, "ruled", "Mallory").added == 1
    assert collect_review(store, "ruled").settled() == {one: "ambiguous"}
    queue = review_queues.get_review_queue(queue.queue_id)
    assert queue.users == ["eve", "mallory"]
    assert create_review(store, "ruled", answers(3, SYSTEMS[:1]), PEOPLE).added == 0
    assert collect_review(store, "ruled").adjudication == Progress(1, 3)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("See ![x](http://h/p.png) <b>now</b>", r"See !\[x\](http://h/p.png) \<b\>now\</b\>"),
        ("  ", "*(empty)*"),
        ("word " * 300, ("word " * 300)[: 1000 - 30] + " … (the rest: View full trace)"),
    ],
)
def test_the_page_shows_a_reply_literally_and_in_a_thousand_characters(store: str, reply: str, shown: str) -> None:
    experiment = f"shown {len(reply)}"
    create_review(store, experiment, changed(reply=reply, reference=None, knowledge=("long " * 300,)), ["ann"])
    trace = open_client(store).get_trace(trace_of(store, experiment, "ann", 0))
    assert trace.info.response_preview == shown
    assert trace.info.request_preview.startswith("Question 0?\n\n**Knowledge:**\n\n- long")
    assert len(trace.info.request_preview) == 1000
    assert trace.data.spans[0].outputs == reply
    assert trace.data.spans[0].inputs["reference"] is None
