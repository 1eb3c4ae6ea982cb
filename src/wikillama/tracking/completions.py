"""Chat completions in OpenAI's shape: a request read, a reply written, whole or in chunks.

The shapes are MLflow's (`mlflow.types.chat`), with `knowledge`, a list of sentences to answer from, and `topic` beside
what OpenAI's API has.
"""

import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mlflow.types.chat import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatMessage,
    ChatUsage,
    TextContentPart,
)
from pydantic import ValidationError

from wikillama.data.prompt import Message, Role
from wikillama.errors import InputError
from wikillama.generation.bot import Speaks
from wikillama.generation.decoding import Sampling
from wikillama.generation.streaming import ReplyStats, ReplyStream

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# what would change a reply and is not done here, with the values that change nothing
_UNHEARD: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": (None,),
    "top_k": (None,),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "tools": (None,),
}


class ChatRequest(ChatCompletionRequest):  # type: ignore[misc]
    """What a client asks. Without a temperature the reply is greedy."""

    knowledge: list[str] = []  # noqa: RUF012 (pydantic copies it)
    topic: str | None = None
    seed: int | None = None


def read_request(body: Any) -> ChatRequest:
    """Raises InputError for what is no request, and for what is asked but not done here."""
    try:
        request = ChatRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        raise InputError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
    for name, harmless in _UNHEARD.items():
        if getattr(request, name) not in harmless:
            raise InputError(f"{name}: not supported; leave it out")
    if request.response_format is not None and request.response_format.type != "text":
        raise InputError(f"response_format: {request.response_format.type} is not supported; replies are text")
    if request.messages[-1].role != "user":
        raise InputError("messages: the last one must be the user's")
    return request


def start(bot: Speaks, request: ChatRequest) -> ReplyStream:
    """Begin to reply. Raises InputError for messages, a length or a sampling that cannot be."""
    return bot.stream(
        [_message(message) for message in request.messages],
        request.knowledge,
        request.topic,
        max_new_tokens=request.max_completion_tokens or request.max_tokens,
        sampling=Sampling(
            0.0 if request.temperature is None else request.temperature,
            1.0 if request.top_p is None else request.top_p,
            request.seed,
        ),
    )


def _message(message: ChatMessage) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise InputError(f"messages: a message by {message.role!r}; roles are {', '.join(_ROLES)}")
    if isinstance(message.content, str):
        return Message(role, message.content)
    parts = message.content or []
    texts = [part.text for part in parts if isinstance(part, TextContentPart)]
    if not parts or len(texts) < len(parts):
        raise InputError(f"messages: the content of a message by {message.role!r} is not text alone")
    return Message(role, "".join(texts))


def completion(model: str, text: str, stats: ReplyStats) -> dict[str, Any]:
    """A whole reply, with how it went under `custom_outputs`, where MLflow's chat models put what is their own."""
    reply = ChatCompletionResponse(
        id=_id(),
        created=int(time.time()),
        model=model,
        choices=[
            ChatChoice(
                index=0, message=ChatMessage(role="assistant", content=text), finish_reason=_finish_reason(stats)
            )
        ],
        usage=_usage(stats),
    )
    return _plain(reply) | {"custom_outputs": asdict(stats)}


def chunks(model: str, stream: ReplyStream, usage: bool = False) -> Iterator[dict[str, Any]]:
    """The chunks of a reply as it is made: the role, pieces of text, how it ended, and with `usage`, what it took."""
    made: dict[str, Any] = {"id": _id(), "created": int(time.time()), "model": model}

    def chunk(delta: ChatChoiceDelta, finish_reason: str | None = None) -> dict[str, Any]:
        choice = ChatChunkChoice(index=0, delta=delta, finish_reason=finish_reason)
        return _plain(ChatCompletionChunk(**made, choices=[choice]))

    yield chunk(ChatChoiceDelta(role="assistant", content=""))
    for piece in stream:
        yield chunk(ChatChoiceDelta(content=piece))
    if stream.stats is None:  # closed before its turn
        return
    last = chunk(ChatChoiceDelta(), _finish_reason(stream.stats))
    yield last | {"custom_outputs": asdict(stream.stats)}
    if usage:
        yield _plain(ChatCompletionChunk(**made, choices=[], usage=_usage(stream.stats)))


def _plain(shape: ChatCompletionResponse | ChatCompletionChunk) -> dict[str, Any]:
    made: dict[str, Any] = shape.model_dump(exclude_none=True)
    return made


def _finish_reason(stats: ReplyStats) -> str:
    """OpenAI's word: `length` for all that was cut off, be it for running in circles."""
    return "stop" if stats.end == "stop" else "length"


def _usage(stats: ReplyStats) -> ChatUsage:
    return ChatUsage(
        prompt_tokens=stats.prompt_tokens,
        completion_tokens=stats.tokens,
        total_tokens=stats.prompt_tokens + stats.tokens,
    )


def _id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
