"""Exchanges: what is said and shown, what is recorded, many at once, and everything that can go wrong."""

import gc
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracing.client import TracingClient

from wikillama.chat.answering import LONGEST, Answering, Question
from wikillama.chat.conversation import Conversation, Exchange
from wikillama.config.chat import BASE
from wikillama.errors import InputError
from wikillama.tracking.loading import load_adapter

SOON = 60.0  # seconds


def ask(answering: Answering, conversation: Conversation, said: str, *systems: str, **given: Any) -> Exchange:
    for _ in answering.answer(conversation, Question(said, systems, **given)):
        pass
    return conversation.exchanges[-1]


@pytest.fixture
def first(place: Path) -> str:
    return f"{place}/first"


def test_a_reply_comes_in_pieces_with_its_sources(answering: Answering, first: str) -> None:
    conversation = Conversation()
    texts, done = [], []
    for exchange in answering.answer(conversation, Question("How many flowers does a bee visit?", [first])):
        texts.append(exchange.replies[0].text)
        done.append(exchange.replies[0].done)
    assert len(set(texts)) > 4
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert not any(done[:-1])
    assert done[-1]
    reply = conversation.exchanges[0].replies[0]
    assert reply.sources[0].sentence.text == "A bee visits 1,500 flowers a day."
    assert reply.stats is not None
    assert reply.stats.tokens == 24


def test_the_reply_is_that_of_the_adapter(answering: Answering, first: str, chat_config: Callable[..., Any]) -> None:
    conversation = Conversation()
    one = ask(answering, conversation, "Tea?", first, topic="Tea").replies[0]
    two = ask(answering, conversation, "And bees?", first, mode="off").replies[0]
    bot = load_adapter(first, cache_dir=chat_config().cache_dir)
    facts = [source.sentence for source in one.sources]
    assert one.text == bot.reply(["Tea?"], facts, "Tea", max_new_tokens=24)
    assert two.text == bot.reply(["Tea?", one.text, "And bees?"], max_new_tokens=24)


def test_two_systems_have_a_conversation_each(answering: Answering, first: str) -> None:
    conversation = Conversation()
    for said in ("Tea?", "And bees?"):
        ask(answering, conversation, said, first, BASE, mode="off")
    alone = Conversation()
    for said in ("Tea?", "And bees?"):
        ask(answering, alone, said, BASE, mode="off")
    assert [each.replies[1].text for each in conversation.exchanges] == [
        each.replies[0].text for each in alone.exchanges
    ]
    assert conversation.exchanges[1].replies[0].text != conversation.exchanges[1].replies[1].text


def test_records_hold_what_was_seen_and_labels_of_people(answering: Answering, first: str) -> None:
    conversation = Conversation()
    ask(answering, conversation, "Tea?", first, topic="Tea")
    reply = ask(answering, conversation, "How old is <b>it</b>?", first).replies[0]
    assert answering.traces is not None
    assert reply.trace_id is not None
    client: TracingClient = answering.traces._client
    trace = client.get_trace(reply.trace_id)
    span = trace.data.spans[0]
    assert [message["role"] for message in span.inputs["messages"]] == ["user", "assistant", "user"]
    assert span.inputs["messages"][-1]["content"] == "How old is <b>it</b>?"
    assert [each["text"] for each in span.inputs["knowledge"]] == [each.sentence.text for each in reply.sources]
    assert span.outputs == reply.text
    assert span.attributes["system"] == first
    assert trace.info.trace_metadata["mlflow.trace.session"] == conversation.session
    assert "<b>" not in trace.info.request_preview
    assert answering.label(reply, "ann", verdict="wrong") == "kept: wrong"
    assert answering.label(reply, "ann", verdict="correct") == "kept: correct"
    assert answering.label(reply, "ann", thumbs_up=False) == "kept: thumbs down"
    labels = client.get_trace_info(reply.trace_id).assessments
    assert {(each.name, each.value, each.valid) for each in labels} == {
        ("verdict", "wrong", False), ("verdict", "correct", True), ("thumbs_up", False, True),
    }  # fmt: skip
    assert {(each.source.source_type, each.source.source_id) for each in labels} == {("HUMAN", "ann")}
    assert (reply.verdict, reply.thumbs_up) == ("correct", False)


def test_a_store_that_is_away_costs_the_record_alone(
    answering: Answering, first: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert answering.traces is not None
    monkeypatch.setattr(answering.traces, "_client", TracingClient("http://127.0.0.1:9"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    reply = ask(answering, Conversation(), "Tea?", first).replies[0]
    assert reply.text
    assert reply.trace_id is None
    assert "not recorded" in caplog.text
    assert "cannot be labelled" in answering.label(reply, "ann", verdict="wrong")


@pytest.mark.parametrize(
    ("said", "reason"), [("  \n", "say something first"), ("x" * (LONGEST + 1), "8,001 characters")]
)
def test_nothing_and_too_much_are_refused(answering: Answering, first: str, said: str, reason: str) -> None:
    conversation = Conversation()
    with pytest.raises(InputError, match=reason):
        ask(answering, conversation, said, first)
    assert conversation.exchanges == []
    assert not conversation.busy


def test_a_long_message_and_a_long_conversation_fit(answering: Answering, first: str) -> None:
    long = ask(answering, Conversation(), "tea " * (LONGEST // 4 - 1), first, mode="off").replies[0]
    assert long.text
    assert long.stats is not None
    assert long.stats.cut == "prompt"
    conversation = Conversation()
    for number in range(4):
        reply = ask(answering, conversation, f"{number} " + "tea and bees " * 60, first, mode="off").replies[0]
    assert reply.stats is not None
    assert reply.stats.cut == "history"
    bot = load_adapter(first, cache_dir=answering.systems._cfg.cache_dir)
    spoken = [text for each in conversation.exchanges[-2:] for text in (each.said, each.replies[0].text)]
    assert reply.text == bot.reply(spoken[:-1], max_new_tokens=24)  # of 2,048 tokens an exchange takes 800


def test_one_question_at_a_time_and_stop(answering: Answering, first: str) -> None:
    slow = replace(answering, max_new_tokens=1000)
    conversation = Conversation()
    made = slow.answer(conversation, Question("Tea?", [first, BASE], mode="off"))
    while not next(made).replies[0].text:
        pass
    with pytest.raises(InputError, match="not finished"):
        next(slow.answer(conversation, Question("Bees?", [first])))
    conversation.stop()
    *_, exchange = made
    assert exchange.replies[0].text
    assert len(exchange.replies[0].text) < 1000
    assert exchange.replies[1].text == ""
    assert not conversation.busy
    assert ask(answering, conversation, "Bees?", first, mode="off").replies[0].text


def test_who_leaves_in_the_middle_holds_up_nobody(answering: Answering, first: str) -> None:
    slow = replace(answering, max_new_tokens=1000)
    conversation = Conversation()
    made = slow.answer(conversation, Question("Tea?", [first], mode="off"))
    while not next(made).replies[0].text:
        pass
    made.close()
    assert not conversation.busy
    began = time.monotonic()
    assert ask(answering, Conversation(), "Bees?", first, mode="off").replies[0].text
    assert time.monotonic() - began < SOON


def test_what_goes_wrong_stands_in_the_reply(answering: Answering, first: str) -> None:
    conversation = Conversation()
    exchange = ask(answering, conversation, "Tea?", "no/such/adapter", first, mode="off")
    assert "neither models:/" in exchange.replies[0].error
    assert exchange.replies[1].text
    assert ask(answering, conversation, "Tea?", first, mode="mine", pasted="x" * 20_001).replies[0].error
    assert conversation.history(0, "Bees?") == ["Bees?"]  # exchanges without a reply are none


def test_twenty_at_once(answering: Answering, first: str) -> None:
    """None lost, none mixed up: each has the replies that it has alone; and memory does not grow by rounds."""
    said = [[f"Tea number {number}?", f"And what of bee {number}?"] for number in range(20)]
    alone = []
    for pair in said[:4]:
        conversation = Conversation()
        alone.append([ask(answering, conversation, each, first).replies[0].text for each in pair])
    waited: set[str] = set()

    def talk(pair: list[str], found: list[str]) -> None:
        conversation = Conversation()
        for each in pair:
            for exchange in answering.answer(conversation, Question(each, [first])):
                waited.add(exchange.replies[0].status)
            found.append(conversation.exchanges[-1].replies[0].text)

    sizes = []
    for _ in range(3):
        found: list[list[str]] = [[] for _ in said]
        threads = [threading.Thread(target=talk, args=pair) for pair in zip(said, found, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert [len(texts) for texts in found] == [2] * 20
        assert all(all(texts) for texts in found)
        assert found[:4] == alone
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss)
    assert any("before this one" in status for status in waited)
    assert sizes[2] - sizes[1] < 8e6  # bytes; the first round warms up
