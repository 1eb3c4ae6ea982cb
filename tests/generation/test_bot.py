"""The bot: streams say what batches say, threads take turns, and a real model answers."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from talkers import CPU, recipe_of

from wikillama.data.dialogue import Example
from wikillama.data.encode import encode, end_token_id
from wikillama.data.prompt import Message
from wikillama.errors import InputError
from wikillama.generation.batched import generate
from wikillama.generation.bot import CONTEXT, Bot
from wikillama.generation.decoding import Sampling
from wikillama.model.adapters import attach, trainable
from wikillama.model.base import load_base
from wikillama.model.dense import dense_weights

HISTORY = ["Hello there!", "Hi, what shall we talk about?", "Tell me of cars."]
KNOWLEDGE = ["Cars have wheels.", "A car has an engine."]


def batched(bot: Bot, history: Sequence[str], knowledge: Sequence[str] = (), tokens: int | None = None) -> str:
    limit = tokens or bot.recipe.max_new_tokens
    prompt = bot._prompt(history, knowledge, None, bot.context - limit).input_ids
    end = end_token_id(bot.recipe.prompt, bot.tokenizer)
    return generate(bot.model, bot.tokenizer, [prompt], end, limit, batch_size=1)[0].text


@pytest.mark.parametrize("history", [["Hi!"], HISTORY, ["x" * 900]])
def test_a_stream_says_what_a_batch_says(tiny_bot: Bot, history: list[str]) -> None:
    expected = batched(tiny_bot, history, KNOWLEDGE)
    assert len(expected) == 24  # letters, one a token
    pieces = list(tiny_bot.stream(history, KNOWLEDGE))
    assert "".join(pieces) == expected
    assert len(pieces) == 24
    assert tiny_bot.reply(history, KNOWLEDGE) == expected
    assert expected != batched(tiny_bot, history)


def test_so_it_does_over_4_bit_weights_and_an_adapter(compose: Callable[..., Any]) -> None:
    overrides = ("model=tiny", "peft=qlora", "quantization=nf4")
    cfg = compose(*overrides)
    base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
    torch.manual_seed(3)
    model = attach(base.model, cfg.peft, base.id)
    generator = torch.Generator().manual_seed(3)
    for parameter in trainable(model).values():
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.5
    bot = Bot(model, base.tokenizer, recipe_of(compose, base, *overrides))
    packed = batched(bot, HISTORY, KNOWLEDGE).rstrip("\ufffd")  # bytes at random, of which the last make no character
    assert len(set(packed)) > 3
    assert bot.reply(HISTORY, KNOWLEDGE) == packed
    with dense_weights(model):
        assert bot.reply(HISTORY, KNOWLEDGE) == packed
    with model.disable_adapter():
        assert bot.reply(HISTORY, KNOWLEDGE) != packed


def test_the_stats_say_how_it_went(tiny_bot: Bot) -> None:
    stream = tiny_bot.stream(HISTORY, max_new_tokens=5)
    assert len("".join(stream)) == 5
    stats = stream.stats
    assert stats is not None
    example = Example("0", "0", (("apprentice", HISTORY[0]), ("wizard", HISTORY[1]), ("apprentice", HISTORY[2])), "")
    prompt = encode(example, tiny_bot.recipe.prompt, tiny_bot.tokenizer, CONTEXT, reply=False)
    assert (stats.end, stats.tokens, stats.prompt_tokens, stats.cut) == ("length", 5, len(prompt.input_ids), "nothing")
    assert stats.first_token_s > 0


def test_closing_ends_the_reply_at_once(tiny_bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, computed, go_on = type(tiny_bot.model).forward, [], threading.Semaphore(2)

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        go_on.acquire(timeout=10)
        computed.append(1)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(tiny_bot.model), "forward", counted)
    with tiny_bot.stream(HISTORY, max_new_tokens=200) as stream:
        next(stream)
        next(stream)
    go_on.release(200)
    tiny_bot.reply(HISTORY, max_new_tokens=1)  # its turn comes after
    assert len(computed) <= 2 + 1 + 1
    assert stream.stats is not None
    assert stream.stats.end == "closed"


def test_threads_are_answered_one_after_the_other_and_rightly(tiny_bot: Bot) -> None:
    asked = ["one", "two", "three", "four"]
    alone = {text: tiny_bot.reply([text]) for text in asked}
    found: dict[str, str] = {}
    threads = [threading.Thread(target=lambda t=text: found.update({t: tiny_bot.reply([t])})) for text in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone
    assert len(set(alone.values())) == 4


def test_a_reply_that_runs_in_circles_is_ended(compose: Callable[..., Any]) -> None:
    cfg = compose("model=tiny", name="prepare")
    base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
    base.model.lm_head.weight.data[:] = 0  # all tokens are as likely: greedy takes the first, for ever
    bot = Bot(base.model, base.tokenizer, recipe_of(compose, base, "model=tiny"))
    stream = bot.stream(["Hi!"], max_new_tokens=200)
    assert "".join(stream) == ""
    assert stream.stats is not None
    assert (stream.stats.end, stream.stats.tokens) == ("repetition", 24)


def test_messages_with_roles_are_the_same_conversation(tiny_bot: Bot) -> None:
    said = [Message("user", HISTORY[0]), Message("assistant", HISTORY[1]), Message("user", HISTORY[2])]
    assert tiny_bot.reply(said) == tiny_bot.reply(HISTORY)
    trained = tiny_bot.recipe.prompt.system
    assert tiny_bot.reply([Message("system", trained), *said]) == tiny_bot.reply(HISTORY)
    assert tiny_bot.reply([Message("system", "Be brief."), *said]) != tiny_bot.reply(HISTORY)
    ids = tiny_bot._prompt([Message("system", "Be brief."), *said], (), "Cars", 2000).input_ids
    text = tiny_bot.tokenizer.decode(ids)
    assert "Be brief." in text
    assert "Topic: Cars" in text
    assert trained.strip() not in text


def test_history_that_does_not_fit_is_dropped_from_its_old_end(tiny_bot: Bot) -> None:
    long = [*["old " * 300] * 4, "x" * 500, "And this?"]
    assert tiny_bot.context == CONTEXT
    stream = tiny_bot.stream(long[1:], max_new_tokens=8)
    assert len("".join(stream)) == 8
    assert stream.stats is not None
    assert stream.stats.cut == "history"
    assert 1700 < stream.stats.prompt_tokens <= CONTEXT - 8
    assert tiny_bot.reply(long[1:], max_new_tokens=8) == tiny_bot.reply(long[3:], max_new_tokens=8)


def test_the_context_is_that_of_training_where_it_is_longer(tiny: Any, compose: Callable[..., Any]) -> None:
    assert Bot(tiny.model, tiny.tokenizer, recipe_of(compose, tiny, "model=tiny", max_length=3000)).context == 3000
    assert (
        Bot(tiny.model, tiny.tokenizer, recipe_of(compose, tiny, "model=tiny", max_length=9000)).context == 4096
    )  # its positions


@pytest.mark.parametrize("tokens", [0, -1, CONTEXT // 2 + 1])
def test_lengths_that_cannot_be_are_refused(tiny_bot: Bot, tokens: int) -> None:
    with pytest.raises(InputError, match=f"max_new_tokens={tokens}: give 1 to 1024"):
        tiny_bot.stream(["Hi!"], max_new_tokens=tokens)


def test_sampling(tiny_bot: Bot) -> None:
    drawn = tiny_bot.reply(["Hi!"], sampling=Sampling(1.0, seed=1))
    assert tiny_bot.reply(["Hi!"], sampling=Sampling(1.0, seed=1)) == drawn
    assert drawn != tiny_bot.reply(["Hi!"])
    with pytest.raises(InputError, match="temperature=3"):
        tiny_bot.reply(["Hi!"], sampling=Sampling(3))


REAL = [
    (["What is the capital of France?"], [], "Paris"),
    (["Hi!", "Hello, what shall we talk about?", "Who runs the bakery in Oakville?"],
     ["The bakery in Oakville is run by Zebulon Pike."], "Zebulon"),
    (["Tell me a fact about the Ford Mustang, please."], ["Ford began to build the Ford Mustang in 1964."], "Mustang"),
]  # fmt: skip


@pytest.mark.parametrize(("history", "knowledge", "says"), REAL)
def test_smollm2_streams_what_it_says_in_a_batch(
    smollm2: Bot, history: list[str], knowledge: list[str], says: str
) -> None:
    stream = smollm2.stream(history, knowledge, max_new_tokens=14)
    pieces = list(stream)
    assert "".join(pieces) == batched(smollm2, history, knowledge, 14)
    assert says in "".join(pieces)
    assert "<|im_end|>" not in pieces[-1]
    assert stream.stats is not None
    assert len(pieces) <= stream.stats.tokens


def test_smollm2_stops_by_itself(smollm2: Bot) -> None:
    stream = smollm2.stream(*REAL[0][:2])
    assert "".join(stream).endswith("France.")
    assert stream.stats is not None
    assert stream.stats.end == "stop"
    assert stream.stats.tokens < 24


def test_a_reply_is_asked_for_as_it_was_trained(smollm2: Bot, compose: Callable[..., Any]) -> None:
    """The prompt to generate from is, id for id, what stands before the reply in training."""
    from wikillama.data.corpus import load_examples

    cfg = compose("experiment=demo", "data.limit_test=4")
    for example in load_examples(cfg.data, cfg.knowledge, "test_seen"):
        full = encode(example, cfg.prompt, smollm2.tokenizer, 2048)
        asked = encode(example, cfg.prompt, smollm2.tokenizer, 2048, reply=False)
        assert asked.input_ids == full.input_ids[: full.prompt_length]
        assert full.input_ids[-1] == end_token_id(cfg.prompt, smollm2.tokenizer)
