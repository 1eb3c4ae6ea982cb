"""Lays answers before annotators."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mlflow.tracing.client import TracingClient

from wikillama.errors import InputError
from wikillama.tracking.review.answers import Answer, check_answers, deal, normal_name
from wikillama.tracking.review.blind import Shown, log_traces
from wikillama.tracking.review.key import Assignment, Key, Place, claim, open_place, read_key, write_key
from wikillama.tracking.review.queues import (
    ADJUDICATION,
    GUIDELINE,
    LISTED,
    attach,
    attached,
    queue_name,
    review_queue,
    verdict_schema,
)
from wikillama.tracking.traces import new_trace_id


@dataclass(frozen=True, slots=True)
class Review:
    """A review that stands in MLflow."""

    experiment_id: str
    key_run: str  # the run that holds the key
    queues: dict[str, str]  # by annotator, the id of the queue
    added: int  # traces that this call put into queues

    def page(self, annotator: str) -> str:
        """Where an annotator works, after the address of the MLflow server."""
        return f"/#/experiments/{self.experiment_id}/review-queue?selectedQueueId={self.queues[annotator]}"


def create_review(
    tracking_uri: str,
    experiment: str,
    answers: Sequence[Answer],
    annotators: Sequence[str],
    overlap: float = 1.0,
    seed: int = 0,
) -> Review:
    """Put every answer, blind and in random order, into the review queues of those who are to judge it.

    A share `overlap` (0..1) of the items goes to all annotators, the rest is dealt out. The review needs an experiment
    of its own; its key is in a run of experiment `<experiment>-key`. Calling again adds what is missing (after a
    crash, or answers of one more system) and changes nothing else: what was dealt stays dealt, no label is touched.
    Raises InputError for answers that cannot be reviewed, other settings or changed answers than the review has, and
    an experiment in use.
    """
    check_answers(answers)
    place = open_place(tracking_uri, experiment, create=True)
    key = _key(place, annotators, overlap, seed)
    _check_unchanged(answers, key)
    added = _assign(answers, key)
    _check_load(key.plus(added))
    if added or place.key_run is None:
        key = key.plus(added)
        place = write_key(place, key)
    first_round = [assignment for assignment in key.assignments if not assignment.adjudicates]
    contents = {answer.key: answer for answer in answers}
    queues, count = publish(place, [a for a in first_round if a.answer in contents], contents)
    assert place.key_run is not None
    return Review(place.experiment_id, place.key_run, queues, count)


def publish(
    place: Place,
    assignments: Sequence[Assignment],
    contents: Mapping[tuple[str, str], Answer],
    verdicts: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> tuple[dict[str, str], int]:
    """Log the traces that are in no queue yet and attach them: ids of the queues by annotator, traces attached.

    MLflow's page goes from the newest trace to the oldest, so times count down in the order of the assignments.
    """
    schema_id = verdict_schema(place.experiment_id)
    tracing = TracingClient(place.uri)
    queues: dict[str, str] = {}
    count = 0
    for annotator, theirs in groupby(sorted(assignments, key=lambda a: a.annotator), lambda a: a.annotator):
        mine = list(theirs)
        name = ADJUDICATION if mine[0].adjudicates else queue_name(annotator)
        queue = review_queue(place.experiment_id, name, annotator, schema_id)
        queues[annotator] = queue.queue_id
        present = attached(queue)
        missing = [assignment for assignment in mine if assignment.trace_id not in present]
        now = time.time_ns() // 1_000_000
        shown = [
            Shown(a.trace_id, contents[a.answer], now - n, (verdicts or {}).get(a.answer, ()))
            for n, a in enumerate(missing)
        ]
        log_traces(tracing, place.experiment_id, shown)
        if missing:
            attach(queue, [assignment.trace_id for assignment in missing])
        count += len(missing)
    return queues, count


def _key(place: Place, annotators: Sequence[str], overlap: float, seed: int) -> Key:
    names = tuple(normal_name(annotator) for annotator in annotators)
    if not names or len(set(names)) < len(names):
        raise InputError(f"review: annotators={list(annotators)} must be one or more different names")
    if not 0 <= overlap <= 1:
        raise InputError(f"review: overlap={overlap} is no share; give 0..1")
    if place.key_run is None:
        claim(place)
        return Key(names, overlap, seed, GUIDELINE)
    key = read_key(place)
    for setting, given, kept in (
        ("annotators", sorted(names), sorted(key.annotators)),
        ("overlap", overlap, key.overlap),
        ("seed", seed, key.seed),
    ):
        if given != kept:
            raise InputError(
                f"review {place.experiment} was dealt with {setting}={kept}, not {given}; "
                f"keep it or use another experiment"
            )
    return key


def _check_unchanged(answers: Sequence[Answer], key: Key) -> None:
    kept = {assignment.answer: assignment.digest for assignment in key.assignments}
    for answer in answers:
        if kept.get(answer.key, answer.digest) != answer.digest:
            raise InputError(
                f"review: the answer of {answer.system} to {answer.item_id} is not the one under review; "
                f"give the changed system another name"
            )


def _assign(answers: Sequence[Answer], key: Key) -> list[Assignment]:
    """What the key does not have yet, for each annotator in another random order that is free of the systems'."""
    people: dict[str, tuple[str, ...]] = {}
    for assignment in key.assignments:
        if not assignment.adjudicates:
            people[assignment.item_id] = (*people.get(assignment.item_id, ()), assignment.annotator)
    fresh = sorted({answer.item_id for answer in answers} - people.keys())
    people |= deal(fresh, key.annotators, key.overlap, key.seed)
    have = {assignment.answer for assignment in key.assignments}
    new = sorted((answer for answer in answers if answer.key not in have), key=lambda answer: answer.key)
    added = []
    for annotator in key.annotators:
        theirs = [answer for answer in new if annotator in people[answer.item_id]]
        for answer in random.Random(f"order {key.seed} {annotator}").sample(theirs, len(theirs)):
            added.append(
                Assignment(
                    new_trace_id(), annotator, answer.item_id, answer.system, answer.topic, answer.digest
                )
            )  # fmt: skip
    return added


def _check_load(key: Key) -> None:
    for annotator in key.annotators:
        load = sum(a.annotator == annotator and not a.adjudicates for a in key.assignments)
        if load > LISTED:
            raise InputError(
                f"review: {load} answers for {annotator}, but MLflow's page lists {LISTED}; "
                f"take more annotators or less overlap"
            )
