"""Which tokens are learnt (the reply and its end, nothing else), and what goes where an example is too long."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.schema import KnowledgeConfig, PromptConfig
from wikillama.data.corpus import load_examples
from wikillama.data.dialogue import Example
from wikillama.data.encode import IGNORED, cuts, encode, encode_all, end_token_id
from wikillama.data.prompt import messages, render

GOLD = KnowledgeConfig(mode="gold")
ENDS = {"llama2_chat": " </s>", "chatml": "<|im_end|>"}
REAL = [("llama2_tokenizer", "llama2_chat"), ("smollm2_tokenizer", "chatml")]
ALL = [*REAL, ("byte_tokenizer", "llama2_chat"), ("byte_tokenizer", "chatml")]


@pytest.fixture
def prompt(template: Any) -> PromptConfig:
    return PromptConfig(template=template, system="Be brief.")


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest, name: str) -> Any:
    return request.getfixturevalue(name)


def check_mask(examples: list[Example], prompt: PromptConfig, tokenizer: Any) -> None:
    for example in examples:
        encoded = encode(example, prompt, tokenizer, 100_000)
        assert encoded.cut == "nothing"
        assert len(encoded.labels) == len(encoded.input_ids)
        assert encoded.labels == [IGNORED] * encoded.prompt_length + encoded.input_ids[encoded.prompt_length :]
        learnt = [label for label in encoded.labels if label != IGNORED]
        shown = tokenizer.decode(learnt)
        if prompt.template == "llama2_chat":  # the space behind [/INST], which Llama's own decoder hides
            shown = shown.removeprefix(" ")
        assert shown == example.response.strip() + ENDS[prompt.template]
        assert learnt.count(end_token_id(prompt, tokenizer)) == 1
        asked = encode(example, prompt, tokenizer, 100_000, reply=False)
        assert asked.input_ids == encoded.input_ids[: encoded.prompt_length]


@pytest.mark.parametrize(("name", "template"), ALL)
def test_mask_covers_exactly_the_reply_of_shipped_turns(
    compose: Callable[..., Any], tokenizer: Any, prompt: PromptConfig
) -> None:
    data = compose("data=wow_mini", "data.limit_test=150", name="prepare").data
    check_mask(load_examples(data, GOLD, "test_seen"), prompt, tokenizer)


@pytest.mark.parametrize(("name", "template"), REAL)
def test_mask_covers_exactly_the_reply_of_real_turns(
    compose: Callable[..., Any], wow_data: Path, tokenizer: Any, prompt: PromptConfig
) -> None:
    file = wow_data / "godel_wow_valid.jsonl"
    files = [f"data.{split}={file}" for split in ("train", "valid", "test")]
    data = compose("data=jsonl", *files, "data.limit_train=500", name="prepare").data
    examples = load_examples(data, GOLD, "train")
    assert len(examples) == 500
    check_mask(examples, prompt, tokenizer)


@pytest.mark.parametrize(("name", "template"), ALL)
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
    knowledge = ("The knowledge.",)
    return Example(id="0:9", dialogue_id="0", history=tuple(history), response=response, knowledge=knowledge)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "template"), ALL)
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


@pytest.mark.parametrize(("name", "template"), ALL)
def test_then_the_start_of_the_prompt_goes_and_the_end_of_the_reply_stays(tokenizer: Any, prompt: PromptConfig) -> None:
    example = long_example()
    last = encode(replace(example, history=example.history[-1:]), prompt, tokenizer, 100_000)
    reply = last.input_ids[last.prompt_length :]
    for max_length in (len(last.input_ids) - 1, len(reply) + 5, len(reply) + 1):
        encoded = encode(example, prompt, tokenizer, max_length)
        assert (len(encoded.input_ids), encoded.cut) == (max_length, "prompt")
        assert encoded.input_ids == [last.input_ids[0], *last.input_ids[-max_length + 1 :]]
        assert encoded.input_ids[encoded.prompt_length :] == reply


@pytest.mark.parametrize(("name", "template"), ALL)
def test_of_a_reply_that_is_too_long_the_end_stays(tokenizer: Any, prompt: PromptConfig) -> None:
    example = long_example("word " * 300 + "end")
    whole = encode(example, prompt, tokenizer, 100_000)
    encoded = encode(example, prompt, tokenizer, 64)
    assert (len(encoded.input_ids), encoded.prompt_length, encoded.cut) == (64, 1, "prompt")
    assert encoded.labels == [IGNORED, *whole.labels[-63:]]
    assert encoded.labels[-1] == end_token_id(prompt, tokenizer)


@pytest.mark.parametrize(("name", "template"), ALL)
def test_cuts_are_counted(tokenizer: Any, prompt: PromptConfig) -> None:
    short = replace(long_example(), history=(("apprentice", "Hi."),))
    fits = len(encode(short, prompt, tokenizer, 100_000).input_ids) + 30
    encoded = encode_all([short, long_example(), long_example("word " * 300), short], prompt, tokenizer, fits)
    assert cuts(encoded) == {"history": 1, "prompt": 1}
    assert cuts([]) == {"history": 0, "prompt": 0}


@pytest.mark.parametrize(("name", "template"), [ALL[2]])
def test_a_prompt_to_answer_is_cut_like_one_to_learn(tokenizer: Any, prompt: PromptConfig) -> None:
    asked = encode(long_example(), prompt, tokenizer, 50, reply=False)
    assert (len(asked.input_ids), asked.prompt_length) == (50, 50)
    pieces = render(messages(long_example(), prompt), prompt.template)
    reply = pieces[-2]
    assert tokenizer.decode(asked.input_ids).endswith(reply.text[: reply.reply_from][-40:])
