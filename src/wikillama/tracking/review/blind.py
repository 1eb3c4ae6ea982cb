"""Traces that show an answer and nothing of where it came from."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mlflow.entities import Span, TraceInfo
from mlflow.tracing.client import TracingClient

from wikillama.tracking.review.answers import Answer
from wikillama.tracking.traces import trace_info, trace_span

_NAME = "answer"
_SPANS_A_CALL = 100
_PREVIEW = 1000  # characters that MLflow's database keeps of what the review page shows
_REST = " … (the rest: View full trace)"
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&])")


class Shown(NamedTuple):
    """What one trace shows. `verdicts` are earlier ones, for an adjudicator's eyes."""

    trace_id: str
    answer: Answer
    time_ms: int
    verdicts: Sequence[str] = ()


def log_traces(client: TracingClient, experiment_id: str, shown: Sequence[Shown]) -> None:
    """Store answers as traces of one span each; a trace that is stored already keeps its labels."""
    for start in range(0, len(shown), _SPANS_A_CALL):
        client.log_spans(experiment_id, [_span(each) for each in shown[start : start + _SPANS_A_CALL]])
    for each in shown:
        client.start_trace(_info(experiment_id, each))


def _info(experiment_id: str, shown: Shown) -> TraceInfo:
    """The review page shows the two previews, as Markdown."""
    return trace_info(
        shown.trace_id,
        _NAME,
        experiment_id,
        shown.time_ms,
        request=_request(shown.answer, shown.verdicts),
        response=_clipped(literal(shown.answer.reply) or "*(empty)*"),
    )


def _span(shown: Shown) -> Span:
    answer = shown.answer
    inputs: dict[str, object] = {
        "question": answer.question,
        "reference": answer.reference,
        "knowledge": list(answer.knowledge),
    }
    if shown.verdicts:
        inputs["verdicts"] = list(shown.verdicts)
    return trace_span(shown.trace_id, _NAME, shown.time_ms, inputs, answer.reply)


def shown_answer(span: Span, item_id: str, system: str, topic: str | None) -> Answer:
    """The answer that a trace shows, with what the key says of it."""
    inputs = span.inputs
    return Answer(
        item_id, system, topic, inputs["question"], span.outputs, inputs["reference"], tuple(inputs["knowledge"])
    )


def _request(answer: Answer, verdicts: Sequence[str]) -> str:
    parts = [literal(answer.question)]
    if answer.reference is not None:
        parts.append(f"**Reference:** {literal(answer.reference)}")
    if verdicts:
        parts.append("**Verdicts so far:**\n\n" + "\n".join(f"- {literal(verdict)}" for verdict in verdicts))
    if answer.knowledge:
        parts.append("**Knowledge:**\n\n" + "\n".join(f"- {literal(passage)}" for passage in answer.knowledge))
    return _clipped("\n\n".join(parts))


def literal(text: str) -> str:
    """Text that Markdown shows as it is: what a model writes must not become a link, a picture or a heading."""
    return _MARKUP.sub(r"\\\1", text.strip())


def _clipped(text: str) -> str:
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - len(_REST)] + _REST
