"""Reads back what people judged."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities import AssessmentSourceType, Feedback, TraceInfo

from wikillama.errors import InputError
from wikillama.tracking.review.answers import NOBODY
from wikillama.tracking.review.key import Assignment, open_place, read_key
from wikillama.tracking.review.queues import SCHEMA, VERDICTS

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Label:
    """A verdict that a person gave on an answer."""

    item_id: str
    system: str
    topic: str | None
    annotator: str
    label: str  # one of VERDICTS
    comment: str | None
    time: datetime
    adjudicates: bool

    @property
    def answer(self) -> tuple[str, str]:
        return self.item_id, self.system


@dataclass(frozen=True, slots=True)
class Progress:
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ReviewLabels:
    """All labels of a review: the last one by each person on each answer, and every one that was ever given."""

    labels: tuple[Label, ...]
    history: tuple[Label, ...]  # oldest first
    progress: dict[str, Progress]  # by annotator, answers judged
    adjudication: Progress

    def by_annotator(self) -> dict[tuple[str, str], dict[str, str]]:
        """By (item, system), the label of each annotator: what agreement is measured on."""
        found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for label in self.labels:
            if not label.adjudicates:
                found[label.answer][label.annotator] = label.label
        return dict(found)

    def settled(self) -> dict[tuple[str, str], str]:
        """By (item, system), the adjudicator's label, or else the one on which all annotators so far agree."""
        agreed = {answer: set(labels.values()) for answer, labels in self.by_annotator().items()}
        found = {answer: labels.pop() for answer, labels in agreed.items() if len(labels) == 1}
        ruled = sorted((label for label in self.labels if label.adjudicates), key=lambda label: label.time)
        return found | {label.answer: label.label for label in ruled}

    def disputed(self) -> list[tuple[str, str]]:
        """The (item, system) pairs on which annotators disagree, whether adjudicated or not."""
        return sorted(answer for answer, labels in self.by_annotator().items() if len(set(labels.values())) > 1)


def collect_review(tracking_uri: str, experiment: str) -> ReviewLabels:
    """Read all labels given so far; nothing is written.

    A label counts for the user who gave it, or for the queue's annotator where the server knows no users. Raises
    InputError where there is no review, or for a label that is none of VERDICTS.
    """
    place = open_place(tracking_uri, experiment)
    assignments = {assignment.trace_id: assignment for assignment in read_key(place).assignments}
    given = [
        (feedback.last_update_time_ms or 0, bool(feedback.valid), _label(assignments[info.trace_id], feedback))
        for info in _traces(place.client, place.experiment_id)
        if info.trace_id in assignments
        for feedback in _verdicts(info)
    ]
    # of two in the same millisecond, the one that replaces the other is the valid one
    history = [label for *_, label in sorted(given, key=lambda entry: entry[:2])]
    latest = {(label.answer, label.annotator, label.adjudicates): label for label in history}
    labels = tuple(sorted(latest.values(), key=lambda label: (label.answer, label.adjudicates, label.annotator)))
    progress = {
        annotator: Progress(
            sum((a.answer, annotator, False) in latest for a in theirs), len(theirs)
        )
        for annotator, theirs in _first_round(assignments.values()).items()
    }  # fmt: skip
    to_rule = {assignment.answer for assignment in assignments.values() if assignment.adjudicates}
    ruled = {label.answer for label in labels if label.adjudicates}
    return ReviewLabels(labels, tuple(history), progress, Progress(len(ruled), len(to_rule)))


def _first_round(assignments: Iterable[Assignment]) -> dict[str, list[Assignment]]:
    found: dict[str, list[Assignment]] = defaultdict(list)
    for assignment in assignments:
        if not assignment.adjudicates:
            found[assignment.annotator].append(assignment)
    return dict(found)


def _traces(client: MlflowClient, experiment_id: str) -> Iterator[TraceInfo]:
    token: str | None = None
    while True:
        page = client.search_traces(
            locations=[experiment_id], max_results=_PAGE, page_token=token, include_spans=False
        )  # fmt: skip
        yield from (trace.info for trace in page)
        token = page.token
        if not token:
            return


def _verdicts(info: TraceInfo) -> list[Feedback]:
    """What people answered; the valid flag is off on answers that were replaced later, and they count as history."""
    return [
        assessment
        for assessment in info.assessments
        if isinstance(assessment, Feedback)
        and assessment.name == SCHEMA
        and assessment.source.source_type == AssessmentSourceType.HUMAN
    ]


def _label(assignment: Assignment, feedback: Feedback) -> Label:
    if feedback.value not in VERDICTS:
        raise InputError(
            f"trace {assignment.trace_id}: {SCHEMA} is {feedback.value!r}, none of {', '.join(VERDICTS)}; "
            f"give it again and delete this one in MLflow"
        )
    user = (feedback.source.source_id or NOBODY).strip().lower()
    milliseconds = feedback.last_update_time_ms or 0
    return Label(
        item_id=assignment.item_id,
        system=assignment.system,
        topic=assignment.topic,
        annotator=assignment.annotator if user == NOBODY else user,
        label=feedback.value,
        comment=feedback.rationale,
        time=datetime.fromtimestamp(milliseconds / 1000, UTC),
        adjudicates=assignment.adjudicates,
    )
