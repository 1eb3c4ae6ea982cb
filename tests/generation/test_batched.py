"""Greedy replies: the same alone and in a batch, and ended by the end token."""

from typing import Any

import pytest
import torch
from talkers import CPU
from transformers import GenerationConfig

from wikillama.generation.batched import _greedy, _left_padded, _shared_start, generate

LENGTHS = (3, 40, 17, 17, 1, 90, 8)
NEVER = 511  # an id beyond the bytes, which decodes to nothing


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(5, 261, (n,), generator=generator).tolist() for n in LENGTHS]


@pytest.mark.parametrize("batch_size", [2, 3, 7, 100])
def test_a_batch_replies_as_each_alone(tiny: Any, batch_size: int) -> None:
    alone = [generate(tiny.model, tiny.tokenizer, [p], NEVER, 12, batch_size=1)[0].text for p in prompts()]
    together = [reply.text for reply in generate(tiny.model, tiny.tokenizer, prompts(), NEVER, 12, batch_size)]
    assert together == alone
    assert len(set(alone)) == len(alone)


def test_it_is_greedy_and_stops_at_the_end_token(tiny: Any) -> None:
    """By hand, a token at a time, without cache or padding."""
    ids = prompts()[1]
    with torch.no_grad():
        for _ in range(12):
            ids = [*ids, int(tiny.model(torch.tensor([ids])).logits[0, -1].argmax())]
    produced = ids[len(prompts()[1]) :]
    decode = tiny.tokenizer.decode
    (whole,) = generate(tiny.model, tiny.tokenizer, [prompts()[1]], NEVER, 12, 1)
    assert whole.text == decode(produced, skip_special_tokens=True).strip()
    end = produced[5]
    first = produced.index(end)
    (ended,) = generate(tiny.model, tiny.tokenizer, [prompts()[1]], end, 12, 1)
    assert ended.text == decode(produced[: first + 1], skip_special_tokens=True).strip()
    assert len(ended.text) < len(whole.text)
    assert (whole.tokens, ended.tokens) == (12, first + 1)


def test_batches_are_handed_over_as_they_are_done(tiny: Any) -> None:
    done: list[tuple[list[int], list[str]]] = []
    replies = generate(
        tiny.model, tiny.tokenizer, prompts(), NEVER, 4, 3,
        on_batch=lambda places, made: done.append((places, [reply.text for reply in made])),
    )  # fmt: skip
    assert [len(places) for places, _ in done] == [3, 3, 1]
    by_place = {place: text for places, texts in done for place, text in zip(places, texts, strict=True)}
    assert [by_place[place] for place in range(len(LENGTHS))] == [reply.text for reply in replies]
    assert all(reply.seconds > 0 for reply in replies)


def test_padding_is_on_the_left_of_what_is_not_shared_and_masked() -> None:
    ids, mask = _left_padded([[5, 6, 7], [8]], shared=2, device=CPU)
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]]


@pytest.mark.parametrize("shared", [0, 1, 30])
def test_what_prompts_share_is_computed_once_and_changes_nothing(tiny: Any, shared: int) -> None:
    start = torch.randint(5, 261, (shared,), generator=torch.Generator().manual_seed(1)).tolist()
    asked = [start + prompt for prompt in prompts()]
    cache, found = _shared_start(tiny.model, asked)
    assert found == shared
    assert cache.get_seq_length() == shared
    alone = [generate(tiny.model, tiny.tokenizer, [p], NEVER, 12, batch_size=1)[0].text for p in asked]
    assert [r.text for r in generate(tiny.model, tiny.tokenizer, asked, NEVER, 12, batch_size=7)] == alone


def test_equal_prompts_share_all_but_their_last_token(tiny: Any) -> None:
    twice = [prompts()[1]] * 2
    assert _shared_start(tiny.model, twice)[1] == len(twice[0]) - 1
    first, second = generate(tiny.model, tiny.tokenizer, twice, NEVER, 12, 2)
    (alone,) = generate(tiny.model, tiny.tokenizer, twice[:1], NEVER, 12, 1)
    assert first.text == second.text == alone.text


def test_replies_that_end_early_leave_the_batch_and_the_others_go_on(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `transformers.generate` replies, which keeps ended rows to the last; with an end token that falls early."""
    asked = prompts()
    longest = max(map(len, asked))
    ids, mask = _left_padded(asked, shared=0, device=CPU)
    config = GenerationConfig(do_sample=False, max_new_tokens=16, eos_token_id=NEVER, pad_token_id=0)
    tokens = tiny.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)[:, longest:].tolist()
    end = max({t for row in tokens for t in row}, key=lambda t: sum(t in row[:8] for row in tokens))
    expected = [row[: row.index(end) + 1] if end in row else row for row in tokens]
    assert len({len(row) for row in expected}) > 2
    rows = []
    forward = type(tiny.model.model).forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        rows.append(len(kwargs["input_ids"]))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(tiny.model.model), "forward", counted)
    with torch.inference_mode():
        assert _greedy(tiny.model, asked, end, 16) == expected
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < rows[0]
