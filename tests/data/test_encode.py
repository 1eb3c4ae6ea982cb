"""Which tokens are learnt (the reply and its end, nothing else), and what goes where an example is too long."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import KnowledgeConfig, PromptConfig
from wikillama.data.corpus import load_examples
from wikillama.data.dialogue import Example, Sentence
from wikillama.data.encode import IGNORED, Encoder, encode, encode_all, end_token_id
from wikillama.data.prompt import messages, render

GOLD = KnowledgeConfig(mode="gold")
ENDS = {"llama2_chat": " </s>", "chatml": "<|im_end|>"}
NAMES = ("name", "template", "layout")
REAL = [
    ("llama2_tokenizer", "llama2_chat", "chat"),
    ("llama2_tokenizer", "llama2_chat", "paper"),
    ("smollm2_tokenizer", "chatml", "chat"),
    ("smollm2_tokenizer", "chatml", "paper"),
]
BYTES = [("byte_tokenizer", "llama2_chat", "chat"), ("byte_tokenizer", "chatml", "paper")]
ALL = [*REAL, *BYTES]


@pytest.fixture
def prompt(template: Any, layout: Any) -> PromptConfig:
    return PromptConfig(template=template, layout=layout, system="Be brief.")


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest, name: str) -> Any:
    return request.getfixturevalue(name)


@pytest.fixture(scope="module")
def shipped(compose: Callable[..., Any]) -> list[Example]:
    """Turns with several sentences of knowledge, and some without any."""
    data = compose("data=wow_mini", "data.limit_test=150", name="prepare").data
    return load_examples(data, KnowledgeConfig(mode="mixed", dropout=0.2), "test_seen")


@pytest.fixture(scope="module")
def real(compose: Callable[..., Any], wow_data: Path) -> list[Example]:
    file = wow_data / "godel_wow_valid.jsonl"
    files = [f"data.{split}={file}" for split in ("train", "valid", "test")]
    examples = load_examples(compose("data=jsonl", *files, name="prepare").data, GOLD, "train")
    return examples[: 200 * (len(examples) // 200) : len(examples) // 200]


def check_mask(examples: list[Example], prompt: PromptConfig, tokenizer: Any) -> None:
    made = encode_all(examples, prompt, tokenizer, 100_000)
    prompts = encode_all(examples, prompt, tokenizer, 100_000, reply=False)
    for example, encoded, asked in zip(examples, made, prompts, strict=True):
        assert encoded.cut == "nothing"
        assert len(encoded.labels) == len(encoded.input_ids)
        assert encoded.labels == [IGNORED] * encoded.prompt_length + encoded.input_ids[encoded.prompt_length :]
        learnt = [label for label in encoded.labels if label != IGNORED]
        shown = tokenizer.decode(learnt)
        if prompt.template == "llama2_chat":  # the space behind [/INST], which Llama's own decoder hides
            shown = shown.removeprefix(" ")
        assert shown == example.response.strip() + ENDS[prompt.template]
        assert learnt.count(end_token_id(prompt, tokenizer)) == 1
        assert asked.input_ids == encoded.input_ids[: encoded.prompt_length]


@pytest.mark.parametrize(NAMES, ALL)
def test_mask_covers_exactly_the_reply_of_shipped_turns(
    shipped: list[Example], tokenizer: Any, prompt: PromptConfig
) -> None:
    assert len({len(example.knowledge) for example in shipped}) > 2
    check_mask(shipped, prompt, tokenizer)


@pytest.mark.parametrize(NAMES, REAL)
def test_mask_covers_exactly_the_reply_of_real_turns(real: list[Example], tokenizer: Any, prompt: PromptConfig) -> None:
    assert len(real) == 200
    check_mask(real, prompt, tokenizer)


def check_batches(
    examples: list[Example], prompt: PromptConfig, tokenizer: Any, max_length: int, reply: bool
) -> set[str]:
    """Together as one by one, by an encoder that has seen other batches before; the cuts that were made."""
    alone = [encode(example, prompt, tokenizer, max_length, reply) for example in examples]
    encoder = Encoder(prompt, tokenizer, max_length, reply)
    assert [e for part in (examples[:40], examples[40:41], examples[41:]) for e in encoder(part)] == alone
    return {encoded.cut for encoded in alone}


@pytest.mark.parametrize(NAMES, ALL)
def test_shipped_turns_encoded_together_are_as_one_by_one(
    shipped: list[Example], tokenizer: Any, prompt: PromptConfig
) -> None:
    assert check_batches(shipped[::2], prompt, tokenizer, 100_000, reply=True) == {"nothing"}
    some_fit = 700 if tokenizer.vocab_size < 1000 else 200
    assert check_batches(shipped[::2], prompt, tokenizer, some_fit, reply=False) == {"nothing", "history", "prompt"}


@pytest.mark.parametrize(NAMES, REAL)
def test_real_turns_encoded_together_are_as_one_by_one(
    real: list[Example], tokenizer: Any, prompt: PromptConfig
) -> None:
    assert check_batches(real, prompt, tokenizer, 100_000, reply=True) == {"nothing"}
    assert check_batches(real, prompt, tokenizer, 120, reply=True) == {"nothing", "history", "prompt"}


def test_many_examples_go_in_batches(
    shipped: list[Example], byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = PromptConfig(template="chatml", system="Be brief.")
    at_once = encode_all(shipped, prompt, byte_tokenizer, 900)
    monkeypatch.setattr("wikillama.data.encode._BATCH", 7)
    assert encode_all(shipped, prompt, byte_tokenizer, 900) == at_once
    assert encode_all([], prompt, byte_tokenizer, 900) == []


def test_given_messages_are_what_is_encoded(shipped: list[Example], byte_tokenizer: Any) -> None:
    prompt = PromptConfig(template="chatml", system="Be brief.")
    other = [messages(example, prompt.model_copy(update={"system": "Be long."})) for example in shipped]
    encoded = Encoder(prompt, byte_tokenizer, 100_000)(shipped, other)
    assert all("Be long." in byte_tokenizer.decode(e.input_ids) for e in encoded)


@pytest.mark.parametrize(NAMES, ALL)
@pytest.mark.parametrize(
    "reply", ["Green.", "'tis", "...", "2", "🍵 tea", "- a\n- b", "é", "]", "[/INST]", "assistant\n"]
)
def test_prompt_ids_do_not_depend_on_the_reply(tokenizer: Any, prompt: PromptConfig, reply: str) -> None:
    example = Example(id="0:1", dialogue_id="0", history=(("apprentice", "Tea?"),), response=reply)
    other = encode(replace(example, response="Something else."), prompt, tokenizer, 1000, reply=False)
    assert encode(example, prompt, tokenizer, 1000, reply=False).input_ids == other.input_ids
    check_mask([example], prompt, tokenizer)


def long_example(response: str = "The last words.") -> Example:
    history = [("apprentice" if i % 2 == 0 else "wizard", f"utterance number {i}") for i in range(9)]
    knowledge = (Sentence(None, "The knowledge."),)
    return Example(id="0:9", dialogue_id="0", history=tuple(history), response=response, knowledge=knowledge)  # type: ignore[arg-type]


@pytest.mark.parametrize(NAMES, ALL)
def test_history_goes_first_and_oldest_first(tokenizer: Any, prompt: PromptConfig) -> None:
    example = long_example()
    whole = encode(example, prompt, tokenizer, 100_000)
    shortest = encode(replace(example, history=example.history[-1:]), prompt, tokenizer, 100_000)
    for max_length in range(len(whole.input_ids), len(shortest.input_ids) - 1, -7):
        encoded = encode(example, prompt, tokenizer, max_length)
        assert len(encoded.input_ids) <= max_length
        assert encoded.cut == ("nothing" if max_length == len(whole.input_ids) else "history")
        text = tokenizer.decode(encoded.input_ids)
        kept = [i for i in range(9) if f"number {i}" in text]
        assert kept == list(range(9 - len(kept), 9))  # the newest, without a gap
        assert encoded.input_ids[encoded.prompt_length :] == whole.input_ids[whole.prompt_length :]
        for part in (prompt.system, "The knowledge."):
            assert part in text
        more = replace(example, history=example.history[-len(kept) - 1 :])
        assert len(kept) == 9 or len(encode(more, prompt, tokenizer, 100_000).input_ids) > max_length  # no more fitted


@pytest.mark.parametrize(NAMES, ALL)
def test_then_the_start_of_the_prompt_goes_and_the_end_of_the_reply_stays(tokenizer: Any, prompt: PromptConfig) -> None:
    example = long_example()
    last = encode(replace(example, history=example.history[-1:]), prompt, tokenizer, 100_000)
    reply = last.input_ids[last.prompt_length :]
    for max_length in (len(last.input_ids) - 1, len(reply) + 5, len(reply) + 1):
        encoded = encode(example, prompt, tokenizer, max_length)
        assert (len(encoded.input_ids), encoded.cut) == (max_length, "prompt")
        assert encoded.input_ids == [last.input_ids[0], *last.input_ids[-max_length + 1 :]]
        assert encoded.input_ids[encoded.prompt_length :] == reply


@pytest.mark.parametrize(NAMES, ALL)
def test_of_a_reply_that_is_too_long_the_end_stays(tokenizer: Any, prompt: PromptConfig) -> None:
    example = long_example("word " * 300 + "end")
    whole = encode(example, prompt, tokenizer, 100_000)
    encoded = encode(example, prompt, tokenizer, 64)
    assert (len(encoded.input_ids), encoded.prompt_length, encoded.cut) == (64, 1, "prompt")
    assert encoded.labels == [IGNORED, *whole.labels[-63:]]
    assert encoded.labels[-1] == end_token_id(prompt, tokenizer)


@pytest.mark.parametrize(NAMES, BYTES)
def test_a_prompt_to_answer_is_cut_like_one_to_learn(tokenizer: Any, prompt: PromptConfig) -> None:
    asked = encode(long_example(), prompt, tokenizer, 50, reply=False)
    assert (len(asked.input_ids), asked.prompt_length) == (50, 50)
    pieces = render(messages(long_example(), prompt), prompt.template)
    reply = pieces[-2]
    assert tokenizer.decode(asked.input_ids).endswith(reply.text[: reply.reply_from][-40:])
