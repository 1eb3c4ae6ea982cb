"""The server, asked by the `openai` client on this machine: whole replies, streams, refusals, and clients that go."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import requests
import torch
import uvicorn
from talkers import talking_bot

from wikillama.chat.serving import create_app
from wikillama.generation.bot import Bot

torch.set_num_threads(1)
USER: Any = {"role": "user", "content": "Do you like cars?"}
SOON = 20.0  # seconds


@pytest.fixture(scope="module")
def bot(compose: Callable[..., Any]) -> Bot:
    return talking_bot(compose, max_new_tokens=8)


@pytest.fixture(scope="module")
def url(bot: Bot) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(bot, "wiki-llama"), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SOON)


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_whole_reply(client: openai.OpenAI, bot: Bot) -> None:
    made = client.chat.completions.create(
        model="wiki-llama", messages=[USER], extra_body={"knowledge": ["Cars have wheels."], "topic": "Cars"}
    )
    assert made.choices[0].message.content == bot.reply([USER["content"]], ["Cars have wheels."], "Cars")
    assert made.choices[0].message.role == "assistant"
    assert made.choices[0].finish_reason == "length"
    assert made.usage is not None
    assert made.usage.completion_tokens == 8
    assert made.usage.total_tokens == made.usage.prompt_tokens + 8


def test_a_stream(client: openai.OpenAI, bot: Bot) -> None:
    made = client.chat.completions.create(
        model="wiki-llama", messages=[USER], max_tokens=20, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(made)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == bot.reply([USER["content"]], max_new_tokens=20)
    assert sum(len(piece) == 1 for piece in pieces) == 20  # a letter a chunk
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "length"]
    assert last.usage is not None
    assert last.usage.completion_tokens == 20


def test_chunks_come_while_the_reply_is_made(client: openai.OpenAI, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = slowly(bot, monkeypatch)
    stream = client.chat.completions.create(model="wiki-llama", messages=[USER], stream=True)
    assert next(stream).choices[0].delta.role == "assistant"  # before anything is computed
    go_on.release()
    assert len(next(stream).choices[0].delta.content or "") == 1
    go_on.release(100)
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in stream)) == 7


def slowly(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Each token has to be let."""
    forward, may_go_on = type(bot.model.model).forward, threading.Semaphore(0)

    def waiting(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert may_go_on.acquire(timeout=SOON)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(bot.model.model), "forward", waiting)
    return may_go_on


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_ends_its_reply(
    url: str, client: openai.OpenAI, bot: Bot, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    forward, computed = type(bot.model.model).forward, []

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        computed.append(1)
        time.sleep(0.02)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(bot.model.model), "forward", counted)
    body = json.dumps({"messages": [USER], "max_tokens": 1000, "stream": stream})
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), SOON) as connection:
        kind = "Content-Type: application/json"
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())
        until(lambda: len(computed) > 3)
    made = client.chat.completions.create(model="wiki-llama", messages=[USER], max_tokens=1)  # has its turn soon
    assert made.choices[0].finish_reason == "length"
    assert len(computed) < 200


def test_one_after_the_other(client: openai.OpenAI, bot: Bot) -> None:
    asked = ["one", "two", "three", "four", "five"]
    found: dict[str, str | None] = {}

    def ask(text: str) -> None:
        made = client.chat.completions.create(model="wiki-llama", messages=[{"role": "user", "content": text}])
        found[text] = made.choices[0].message.content

    threads = [threading.Thread(target=ask, args=(text,)) for text in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert found == {text: bot.reply([text]) for text in asked}


def test_what_is_refused_is_said_in_openais_way(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="n: not supported") as caught:
        client.chat.completions.create(model="wiki-llama", messages=[USER], n=2)
    assert caught.value.type == "invalid_request_error"
    for body in (b"{", b"\xff", b"[]", json.dumps({"messages": []}).encode()):
        kind = {"Content-Type": "application/json"}
        answer = requests.post(f"{url}/v1/chat/completions", data=body, headers=kind, timeout=SOON)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


def test_what_a_page_elsewhere_can_send_is_refused(url: str) -> None:
    body = json.dumps({"messages": [USER]})  # as text/plain, for which browsers ask nobody's leave
    answer = requests.post(
        f"{url}/v1/chat/completions", data=body, headers={"Content-Type": "text/plain"}, timeout=SOON
    )
    assert answer.status_code == 415
    assert requests.get(f"{url}/docs", timeout=SOON).status_code == 404  # it would fetch scripts from elsewhere


def test_what_fails_within_a_stream_is_said_in_it(
    client: openai.OpenAI, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(bot.model.model), "forward", broken)
    stream = client.chat.completions.create(model="wiki-llama", messages=[USER], stream=True)
    with pytest.raises(openai.APIError, match="RuntimeError: out of memory"):
        list(stream)
    with pytest.raises(openai.InternalServerError, match="RuntimeError: out of memory"):
        client.chat.completions.create(model="wiki-llama", messages=[USER])


def test_the_model_is_listed(client: openai.OpenAI, url: str) -> None:
    assert [model.id for model in client.models.list()] == ["wiki-llama"]
    assert requests.get(f"{url}/health", timeout=SOON).json() == {"status": "ok"}
