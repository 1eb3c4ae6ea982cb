"""Replies of a conversation as MLflow traces, and what people think of them as feedback on those."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities import AssessmentSource, AssessmentSourceType, Feedback, SpanType
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import TraceMetadataKey

from wikillama.config.schema import TrackingConfig
from wikillama.generation.streaming import ReplyStats
from wikillama.tracking.review.blind import literal
from wikillama.tracking.review.queues import SCHEMA
from wikillama.tracking.run import experiment_id, open_client, store_uri
from wikillama.tracking.traces import new_trace_id, trace_info, trace_span

VERDICT, THUMBS = SCHEMA, "thumbs_up"  # names of feedback: correct, wrong, ambiguous; true, false
_NAME = "chat"
_PREVIEW = 1000  # characters, MLflow's limit


@dataclass(frozen=True)
class Spoken:
    """A reply, and all that its system saw."""

    session: str
    system: str
    fingerprint: str  # of the system's weights: names and aliases may point elsewhere later
    history: Sequence[str]  # oldest first, the last one answered
    topic: str
    knowledge: Sequence[Mapping[str, Any]]
    reply: str
    stats: ReplyStats


class ReplyTraces:
    """Writes traces into the experiment of a configuration. Raises InputError where the store cannot be opened."""

    def __init__(self, tracking: TrackingConfig) -> None:
        self.experiment_id = experiment_id(open_client(tracking.uri), tracking)
        self._client = TracingClient(store_uri(tracking.uri))
        self._labels: dict[tuple[str, str, str], str] = {}  # by trace, name and user: the feedback that holds

    def log(self, spoken: Spoken) -> str:
        """Write a reply down; the id of its trace. Raises MlflowException where the store does not take it."""
        stats = spoken.stats
        seconds = stats.waited_s + stats.first_token_s
        if stats.tokens_per_s:
            seconds += (stats.tokens - 1) / stats.tokens_per_s
        duration = round(1000 * seconds)
        now, trace_id = time.time_ns() // 1_000_000 - duration, new_trace_id()
        inputs = {
            "messages": [
                {"role": "user" if (len(spoken.history) - place) % 2 else "assistant", "content": text}
                for place, text in enumerate(spoken.history)
            ],
            "knowledge": list(spoken.knowledge),
            "topic": spoken.topic,
        }
        span = trace_span(
            trace_id, _NAME, now, inputs, spoken.reply, duration, SpanType.CHAT_MODEL,
            {"system": spoken.system, **asdict(stats)},
        )  # fmt: skip
        self._client.log_spans(self.experiment_id, [span])
        self._client.start_trace(
            trace_info(
                trace_id,
                _NAME,
                self.experiment_id,
                now,
                request=literal(spoken.history[-1])[:_PREVIEW],
                response=literal(spoken.reply)[:_PREVIEW],
                duration_ms=duration,
                metadata={TraceMetadataKey.TRACE_SESSION: spoken.session},
                tags={"wikillama.system": spoken.system, "wikillama.fingerprint": spoken.fingerprint},
            )
        )
        return trace_id

    def label(self, trace_id: str, name: str, value: str | bool, user: str) -> str:
        """Keep a person's label; the id of the feedback. An earlier one of theirs stays, marked as replaced.

        Raises MlflowException where the store does not take it.
        """
        place = trace_id, name, user
        kept = self._client.log_assessment(
            trace_id,
            Feedback(
                name=name,
                value=value,
                source=AssessmentSource(AssessmentSourceType.HUMAN, user),
                overrides=self._labels.get(place),
            ),
        )
        self._labels[place] = str(kept.assessment_id)
        return self._labels[place]
