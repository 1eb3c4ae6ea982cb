"""Traces that show an answer and nothing of where it came from."""

import json
import re
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from mlflow.entities import Span, SpanType, TraceInfo, TraceLocation, TraceState
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import SpanAttributeKey, TraceTagKey
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from wikillama.tracking.review.answers import Answer

# Traces are written as they are to be stored. MLflow's tracing functions would add the user, the script's path and an
# active run, and would drop a trace with a log line where the store fails.

_NAME = "answer"
_SPANS_A_CALL = 100
_PREVIEW = 1000  # characters that MLflow's database keeps of what the review page shows
_REST = " … (the rest: View full trace)"
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&])")


def new_trace_id() -> str:
    return f"tr-{uuid.uuid4().hex}"


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
    return TraceInfo(
        trace_id=shown.trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=shown.time_ms,
        execution_duration=0,
        state=TraceState.OK,
        request_preview=_request(shown.answer, shown.verdicts),
        response_preview=_clipped(_literal(shown.answer.reply) or "*(empty)*"),
        tags={TraceTagKey.TRACE_NAME: _NAME},
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
    attributes = {
        SpanAttributeKey.REQUEST_ID: shown.trace_id,
        SpanAttributeKey.SPAN_TYPE: SpanType.UNKNOWN,
        SpanAttributeKey.INPUTS: inputs,
        SpanAttributeKey.OUTPUTS: answer.reply,
    }
    number = int(shown.trace_id.removeprefix("tr-"), 16)
    span = ReadableSpan(
        _NAME,
        SpanContext(number, number % 2**64 or 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
        resource=Resource.get_empty(),  # or the process leaves its id as a tag
        attributes={name: json.dumps(value, ensure_ascii=False) for name, value in attributes.items()},
        status=Status(StatusCode.OK),
        start_time=shown.time_ms * 1_000_000,
        end_time=shown.time_ms * 1_000_000,
    )
    return Span(span)


def shown_answer(span: Span, item_id: str, system: str, topic: str | None) -> Answer:
    """The answer that a trace shows, with what the key says of it."""
    inputs = span.inputs
    return Answer(
        item_id, system, topic, inputs["question"], span.outputs, inputs["reference"], tuple(inputs["knowledge"])
    )


def _request(answer: Answer, verdicts: Sequence[str]) -> str:
    parts = [_literal(answer.question)]
    if answer.reference is not None:
        parts.append(f"**Reference:** {_literal(answer.reference)}")
    if verdicts:
        parts.append("**Verdicts so far:**\n\n" + "\n".join(f"- {_literal(verdict)}" for verdict in verdicts))
    if answer.knowledge:
        parts.append("**Knowledge:**\n\n" + "\n".join(f"- {_literal(passage)}" for passage in answer.knowledge))
    return _clipped("\n\n".join(parts))


def _literal(text: str) -> str:
    """Text that Markdown shows as it is: what a model writes must not become a link, a picture or a heading."""
    return _MARKUP.sub(r"\\\1", text.strip())


def _clipped(text: str) -> str:
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - len(_REST)] + _REST
