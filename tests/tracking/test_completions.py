"""Requests and replies in OpenAI's shape: what is read, what is refused, what is said."""

from collections.abc import Callable
from typing import Any

import pytest
from talkers import talking_bot

from wikillama.errors import InputError
from wikillama.generation.bot import Bot
from wikillama.generation.decoding import Sampling
from wikillama.generation.streaming import ReplyStats
from wikillama.tracking.completions import chunks, completion, read_request, start

USER = {"role": "user", "content": "Do you like cars?"}


@pytest.fixture(scope="module")
def bot(compose: Callable[..., Any]) -> Bot:
    return talking_bot(compose, max_new_tokens=8)


def said(bot: Bot, **request: Any) -> str:
    return "".join(start(bot, read_request({"messages": [USER], **request})))


def test_a_request_is_asked_of_the_bot(bot: Bot) -> None:
    history = [USER["content"]]
    assert said(bot) == bot.reply(history)
    assert said(bot, knowledge=["Cars roll."], topic="Cars") == bot.reply(history, ["Cars roll."], "Cars")
    assert said(bot, max_tokens=3) == said(bot, max_completion_tokens=3) == bot.reply(history, max_new_tokens=3)
    drawn = bot.reply(history, max_new_tokens=24, sampling=Sampling(2, 0.99, 7))
    assert said(bot, max_tokens=24, temperature=2, top_p=0.99, seed=7) == drawn
    assert drawn != bot.reply(history, max_new_tokens=24)
    # what changes nothing may be sent
    assert said(bot, temperature=0, n=1, model="any", presence_penalty=0, user="me", stream=True) == bot.reply(history)


def test_roles_and_parts_of_content(bot: Bot) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Do you "}, {"type": "text", "text": "drive?"}]},
        {"role": "assistant", "content": "Yes."},
        USER,
    ]
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Do you drive?"}, *messages[2:]]
    assert said(bot, messages=messages) == said(bot, messages=plain)
    assert said(bot, messages=messages) != said(bot, messages=messages[1:])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ([], "request: "),
        ({}, "messages: field required"),
        ({"messages": []}, "messages: list should have at least 1 item"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role: field required"),
        ({"messages": [USER], "temperature": 3}, "temperature: input should be less than or equal to 2"),
        ({"messages": [USER], "max_tokens": 0}, "max_tokens: input should be greater than or equal to 1"),
        ({"messages": [USER], "knowledge": "Cars roll."}, "knowledge: input should be a valid list"),
        ({"messages": [USER], "n": 2}, "n: not supported"),
        ({"messages": [USER], "stop": ["."]}, "stop: not supported"),
        ({"messages": [USER], "frequency_penalty": 1}, "frequency_penalty: not supported"),
        ({"messages": [USER], "response_format": {"type": "json_object"}}, "response_format: json_object is not"),
        ({"messages": [USER, {"role": "assistant", "content": "Yes, "}]}, "messages: the last one must be the user's"),
        ({"messages": [{"role": "tool", "content": "4"}, USER]}, "messages: a message by 'tool'"),
        ({"messages": [{"role": "assistant"}, USER]}, "messages: the content of a message by 'assistant'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages: the content of a message by 'user' is not text alone",
        ),
        ({"messages": [USER], "max_tokens": 5000}, "max_new_tokens=5000: give 1 to 1024"),
        ({"messages": [USER], "temperature": 1, "top_p": 0}, "top_p=0"),
    ],
)
def test_what_cannot_be_done_is_refused(bot: Bot, request_: Any, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        start(bot, read_request(request_))
    assert str(caught.value).startswith(reason)


def stats(end: str) -> ReplyStats:
    return ReplyStats(end, 20, "nothing", 3, 0.5, 0.25, 8.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("end", "reason"), [("stop", "stop"), ("length", "length"), ("repetition", "length")])
def test_a_whole_reply(end: str, reason: str) -> None:
    made = completion("wiki-llama", "Yes.", stats(end))
    assert made["object"] == "chat.completion"
    assert made["model"] == "wiki-llama"
    assert made["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": reason}
    ]
    assert made["usage"] == {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}
    assert made["custom_outputs"]["end"] == end
    assert made["custom_outputs"]["tokens_per_s"] == 8.0
    assert made["id"] != completion("wiki-llama", "Yes.", stats(end))["id"]


def test_a_reply_in_chunks(bot: Bot) -> None:
    stream = start(bot, read_request({"messages": [USER]}))
    first, *pieces, last, usage = chunks("wiki-llama", stream, usage=True)
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}}]
    assert "".join(each["choices"][0]["delta"]["content"] for each in pieces) == bot.reply([USER["content"]])
    assert len(pieces) == 8
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 8
    assert {(c["id"], c["object"], c["model"]) for c in (first, *pieces, last, usage)} == {
        (first["id"], "chat.completion.chunk", "wiki-llama")
    }
    assert len(list(chunks("wiki-llama", start(bot, read_request({"messages": [USER]}))))) == 10
