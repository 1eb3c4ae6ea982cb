"""Systems are asked in batches and never twice the same, and an interrupted evaluation goes on where it was."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from wikillama.config.schema import EvaluationConfig
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode, end_token_id
from wikillama.evaluation.answering import answers, costs
from wikillama.evaluation.system import System
from wikillama.generation import batched
from wikillama.generation.batched import generate

Build = Callable[..., System]
TOKENS = 6


def questions(count: int) -> list[Example]:
    """Openings of very different lengths."""
    return [Example(str(n), str(n), (("apprentice", f"{n}? " * (1 + n * 7 % 5)),), "Yes.") for n in range(count)]


def evaluation(size: int = 3, new: int = TOKENS, tokens: int = 100_000) -> EvaluationConfig:
    return EvaluationConfig(batch_size=size, batch_tokens=tokens, max_new_tokens=new)


def texts(system: System, examples: Sequence[Example], **batches: int) -> list[str]:
    return [reply.text for reply in answers(system, examples, evaluation(**batches))]


def test_replies_are_in_the_order_of_the_questions(system: Build, tiny_base: Any, tiny_prompt: Any) -> None:
    end = end_token_id(tiny_prompt, tiny_base.tokenizer)
    alone = []
    for question in questions(7):
        ids = encode(question, tiny_prompt, tiny_base.tokenizer, 512 - TOKENS, reply=False).input_ids
        alone += generate(tiny_base.model, tiny_base.tokenizer, [ids], end, TOKENS, batch_size=1)
    made = answers(system(), questions(7), evaluation())
    assert [(reply.text, reply.tokens) for reply in made] == [(reply.text, reply.tokens) for reply in alone]
    assert len({reply.text for reply in made}) == 7


def test_what_is_remembered_is_not_asked(system: Build, asked: list[int], refuse: Any) -> None:
    first = answers(system(), questions(7), evaluation())
    assert asked == [3, 3, 1]
    again = answers(system(load=refuse), questions(7), evaluation(2))
    assert [reply.text for reply in again] == [reply.text for reply in first]
    assert [reply.tokens for reply in again] == [reply.tokens for reply in first]
    assert [reply.seconds for reply in again] == pytest.approx([reply.seconds for reply in first], abs=1e-4)
    assert texts(system(load=refuse), questions(7)[::-1]) == [reply.text for reply in first][::-1]
    assert asked == [3, 3, 1]


def test_a_batch_is_no_larger_than_the_memory_allows(system: Build, asked: list[int]) -> None:
    whole = texts(system(), questions(7))
    asked.clear()
    assert texts(system("another"), questions(7), size=7, tokens=600) == whole
    assert sum(asked) == 7
    assert max(asked) == 600 // 150  # tokens of a prompt with its reply, or a few less


def test_only_the_new_is_asked(system: Build, asked: list[int]) -> None:
    first = texts(system(), questions(4))
    asked.clear()
    mixed = [questions(6)[n] for n in (5, 0, 4, 3)]
    replies = texts(system(), mixed)
    assert asked == [2]
    assert (replies[1], replies[3]) == (first[0], first[3])
    assert replies == texts(system("fresh"), mixed)


@pytest.mark.parametrize("what", ["decoding", "prompt", "system", "knowledge"])
def test_whatever_changes_a_reply_is_asked_anew(system: Build, tiny_prompt: Any, asked: list[int], what: str) -> None:
    texts(system(), questions(3))
    asked.clear()
    if what == "decoding":
        assert {len(text) for text in texts(system(), questions(3), new=TOKENS - 2)} == {TOKENS - 2}
    elif what == "prompt":
        texts(system(prompt=tiny_prompt.model_copy(update={"system": "Be brief."})), questions(3))
    elif what == "system":
        texts(system("another"), questions(3))
    else:
        texts(system(), [replace(q, history=(*q.history, ("wizard", "No."))) for q in questions(3)])
    assert asked == [3]


def test_an_interrupted_evaluation_goes_on(system: Build, asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = texts(system("uninterrupted"), questions(8))
    asked.clear()
    counted = batched._greedy

    def interrupted(*given: Any) -> Any:
        if len(asked) == 1:
            raise KeyboardInterrupt
        return counted(*given)

    with monkeypatch.context() as patch:
        patch.setattr(batched, "_greedy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            texts(system(), questions(8))
    assert asked == [3]
    assert texts(system(), questions(8)) == expected
    assert asked == [3, 3, 2]


def test_a_fourth_system_does_not_repeat_the_first_three(system: Build, asked: list[int], refuse: Any) -> None:
    three = {name: texts(system(name), questions(3)) for name in ("one", "two", "three")}
    assert asked == [3, 3, 3]
    four = {
        name: texts(system(name, load=None if name == "four" else refuse), questions(3)) for name in (*three, "four")
    }
    assert asked == [3, 3, 3, 3]
    assert {name: four[name] for name in three} == three


def test_a_prompt_leaves_room_for_its_reply(system: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    greedy = batched._greedy

    def measured(model: Any, prompts: list[list[int]], *rest: Any) -> Any:
        lengths.extend(map(len, prompts))
        return greedy(model, prompts, *rest)

    monkeypatch.setattr(batched, "_greedy", measured)
    texts(system(), [Example("0", "0", (("apprentice", "long " * 300),), "Yes.")])
    assert lengths == [512 - TOKENS]


def test_costs_are_measured_once_on_a_machine(system: Build, asked: list[int], refuse: Any) -> None:
    found = costs(system(), questions(5), TOKENS, "two cores")
    assert asked == [1] * 6  # of three prompts: the first token, then the whole reply
    assert found.hardware == "two cores"
    assert found.start_s is not None
    assert found.ttft_ms is not None
    assert found.reply_s is not None
    assert 0 < found.ttft_ms / 1000 < 60
    assert 0 < found.reply_s < 60
    assert (found.adapter_mb, found.peak_gb) == (None, None)
    assert costs(system(load=refuse), questions(5), TOKENS, "two cores") == found
    costs(system(), questions(5), TOKENS, "another machine")
    assert asked == [1] * 12
