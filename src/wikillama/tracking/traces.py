"""Traces of one span, written as they are to be stored.

MLflow's tracing functions would add the user, the script's path and an active run, and would drop a trace with a log
line where the store fails.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Span, SpanType, TraceInfo, TraceLocation, TraceState
from mlflow.tracing.constant import SpanAttributeKey, TraceTagKey
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.status import Status, StatusCode


def new_trace_id() -> str:
    return f"tr-{uuid.uuid4().hex}"


def trace_info(
    trace_id: str,
    name: str,
    experiment_id: str,
    time_ms: int,
    request: str,
    response: str,
    duration_ms: int = 0,
    metadata: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> TraceInfo:
    """A trace as MLflow lists it; `request` and `response` are its previews, which pages show as Markdown."""
    return TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=time_ms,
        execution_duration=duration_ms,
        state=TraceState.OK,
        request_preview=request,
        response_preview=response,
        trace_metadata=dict(metadata or {}),
        tags={TraceTagKey.TRACE_NAME: name, **(tags or {})},
    )


def trace_span(
    trace_id: str,
    name: str,
    time_ms: int,
    inputs: Any,
    outputs: Any,
    duration_ms: int = 0,
    kind: str = SpanType.UNKNOWN,
    attributes: Mapping[str, Any] | None = None,
) -> Span:
    """The only span of a trace."""
    said = {
        SpanAttributeKey.REQUEST_ID: trace_id,
        SpanAttributeKey.SPAN_TYPE: kind,
        SpanAttributeKey.INPUTS: inputs,
        SpanAttributeKey.OUTPUTS: outputs,
        **(attributes or {}),
    }
    number = int(trace_id.removeprefix("tr-"), 16)
    span = ReadableSpan(
        name,
        SpanContext(number, number % 2**64 or 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
        resource=Resource.get_empty(),  # or the process leaves its id as a tag
        attributes={key: json.dumps(value, ensure_ascii=False) for key, value in said.items()},
        status=Status(StatusCode.OK),
        start_time=time_ms * 1_000_000,
        end_time=(time_ms + duration_ms) * 1_000_000,
    )
    return Span(span)
