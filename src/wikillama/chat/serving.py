"""An OpenAI-compatible server of one bot: `/v1/chat/completions`, streamed or whole, and `/v1/models`.

Any OpenAI client talks to it; `knowledge` and `topic` go beside the messages (`extra_body=` of the `openai` package).
"""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from wikillama.errors import InputError
from wikillama.generation.bot import Bot, Speaks
from wikillama.generation.streaming import ReplyStream
from wikillama.model.dense import dense_weights
from wikillama.tracking.completions import chunks, completion, read_request, start

Item = TypeVar("Item")

_WAITING = 256  # clients that wait for a reply, in threads of their own: those of the page must not run out

log = logging.getLogger(__name__)


def serve(bot: Bot, name: str, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Answer until interrupted, as the model `name`, 4-bit weights unpacked for as long as that lasts."""
    with dense_weights(bot.model):
        uvicorn.run(create_app(bot, name), host=host, port=port, log_level="warning")


def create_app(bot: Speaks, name: str) -> FastAPI:
    """The application; replies are made one after the other, in the order of their requests."""
    app = FastAPI(title="Wiki-Llama", docs_url=None, redoc_url=None)  # pages that would fetch scripts from elsewhere
    waiting = CapacityLimiter(_WAITING)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "wikillama"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _refused("Content-Type: application/json is missing", 415)  # pages elsewhere cannot send that
        try:
            asked = read_request(json.loads(await request.body()))
            stream = start(bot, asked)
        except (InputError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
            return _refused(str(error))
        if asked.stream:
            usage = bool((asked.stream_options or {}).get("include_usage"))
            return StreamingResponse(
                _events(chunks(name, stream, usage), stream, waiting), media_type="text/event-stream"
            )
        return await _whole(name, stream, request, waiting)

    return app


async def _whole(name: str, stream: ReplyStream, request: Request, waiting: CapacityLimiter) -> Response:
    pieces = []
    with stream:
        try:
            async for piece in _awaited(stream, waiting):
                pieces.append(piece)
                if await request.is_disconnected():
                    return Response()  # that nobody reads
        except InputError as error:  # of a system that is loaded when it is asked
            return _refused(str(error))
        except Exception as error:
            return JSONResponse(_failed(error), status_code=500)
    assert stream.stats is not None  # it came to its end
    return JSONResponse(completion(name, "".join(pieces), stream.stats))


async def _events(made: Iterator[dict[str, Any]], stream: ReplyStream, waiting: CapacityLimiter) -> AsyncIterator[str]:
    """Server-sent events; where the client goes, the reply ends."""
    with stream:
        try:
            async for chunk in _awaited(made, waiting):
                yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        except InputError as error:
            yield f"data: {json.dumps(_error(str(error), 'invalid_request_error'))}\n\n"
        except Exception as error:
            yield f"data: {json.dumps(_failed(error))}\n\n"
        else:
            yield "data: [DONE]\n\n"


async def _awaited(items: Iterator[Item], waiting: CapacityLimiter) -> AsyncIterator[Item]:
    """Items as another thread gets them, which is left behind when nobody waits for it any more."""
    while (
        item := await to_thread.run_sync(lambda: next(items, None), abandon_on_cancel=True, limiter=waiting)
    ) is not None:
        yield item


def _refused(reason: str, status: int = 400) -> JSONResponse:
    return JSONResponse(_error(reason, "invalid_request_error"), status_code=status)


def _failed(error: Exception) -> dict[str, Any]:
    log.error("a reply failed", exc_info=error)
    return _error(f"{type(error).__name__}: {error}", "server_error")


def _error(message: str, kind: str) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
