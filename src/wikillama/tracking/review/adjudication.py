"""A last word on answers about which annotators disagree."""

from wikillama.tracking.review.answers import normal_name
from wikillama.tracking.review.blind import shown_answer
from wikillama.tracking.review.create import Review, publish
from wikillama.tracking.review.key import Assignment, open_place, read_key, write_key
from wikillama.tracking.review.labels import Label, collect_review
from wikillama.tracking.traces import new_trace_id


def adjudicate(tracking_uri: str, experiment: str, adjudicator: str) -> Review:
    """Put the answers on which annotators disagree by now into the adjudication queue; its label then wins.

    The adjudicator sees the earlier verdicts and comments without names. Calling again adds new disagreements only;
    one that the annotators resolve later stays in the queue. Raises InputError where there is no review.
    """
    name = normal_name(adjudicator)
    place = open_place(tracking_uri, experiment)
    assert place.key_run is not None
    key = read_key(place)
    found = collect_review(tracking_uri, experiment)
    first: dict[tuple[str, str], Assignment] = {}
    for assignment in key.assignments:  # in the order in which annotators saw the answers, which is random
        if not assignment.adjudicates:
            first.setdefault(assignment.answer, assignment)
    queued = {assignment.answer for assignment in key.assignments if assignment.adjudicates}
    new = set(found.disputed()) - queued
    added = [
        Assignment(new_trace_id(), name, *answer, shown.topic, shown.digest, adjudicates=True)
        for answer, shown in first.items()
        if answer in new
    ]
    if added:
        key = key.plus(added)
        write_key(place, key)
    to_rule = [assignment for assignment in key.assignments if assignment.adjudicates]
    contents, verdicts = {}, {}
    for assignment in to_rule:
        answer = assignment.answer
        span = place.client.get_trace(first[answer].trace_id).data.spans[0]
        contents[answer] = shown_answer(span, *answer, assignment.topic)
        verdicts[answer] = sorted(
            _verdict(label) for label in found.labels if label.answer == answer and not label.adjudicates
        )
    queues, count = publish(place, to_rule, contents, verdicts)
    return Review(place.experiment_id, place.key_run, queues, count)


def _verdict(label: Label) -> str:
    return f"{label.label}: {label.comment}" if label.comment else label.label
