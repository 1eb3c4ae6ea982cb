"""One reply, token by token: the same tokens as in a batch, draws from the right distribution, whole characters."""

from typing import Any

import pytest
import torch

from wikillama.errors import InputError
from wikillama.generation.batched import _greedy
from wikillama.generation.decoding import GREEDY, Sampling, _drawn, produce, runs_in_circles, text_pieces

NEVER = 511  # an id beyond the bytes, which decodes to nothing


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(5, 261, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def produced(tiny: Any, asked: list[int], sampling: Sampling, end: int = NEVER, tokens: int = 16) -> list[int]:
    with torch.inference_mode():
        return list(produce(tiny.model, asked, end, tokens, sampling))


@pytest.mark.parametrize("length", [1, 2, 17, 90])
def test_greedy_tokens_are_those_of_a_batch(tiny: Any, length: int) -> None:
    with torch.inference_mode():
        (expected,) = _greedy(tiny.model, [prompt(length)], NEVER, 16)
    assert produced(tiny, prompt(length), GREEDY) == expected
    assert len(expected) == 16
    end = expected[7]
    assert produced(tiny, prompt(length), GREEDY, end) == expected[: expected.index(end) + 1]


def test_tokens_are_computed_as_they_are_asked_for(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, computed = type(tiny.model.model).forward, []

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        computed.append(kwargs["input_ids"].shape[1])
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(tiny.model.model), "forward", counted)
    with torch.inference_mode():
        tokens = produce(tiny.model, prompt(9), NEVER, 16, GREEDY)
        next(tokens)
        next(tokens)
        tokens.close()
    assert computed == [9, 1]


def test_a_seed_says_what_is_drawn(tiny: Any) -> None:
    drawn = {seed: produced(tiny, prompt(9), Sampling(1.0, seed=seed)) for seed in range(4)}
    assert produced(tiny, prompt(9), Sampling(1.0, seed=2)) == drawn[2]
    assert len({tuple(tokens) for tokens in drawn.values()}) == 4
    assert produced(tiny, prompt(9), Sampling(1.0)) != produced(tiny, prompt(9), Sampling(1.0))
    greedy = produced(tiny, prompt(9), GREEDY)
    assert produced(tiny, prompt(9), Sampling(0.001, seed=0)) == greedy
    assert produced(tiny, prompt(9), Sampling(1.0, top_p=1e-6, seed=0)) == greedy


def test_draws_follow_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, -1)
    ids, generator = torch.zeros((4000, 1), dtype=torch.int64), torch.Generator().manual_seed(0)

    def shares(sampling: Sampling) -> list[float]:
        drawn = _drawn(ids, logits, sampling, generator)
        return (drawn.flatten().bincount(minlength=4) / 4000).tolist()

    assert shares(Sampling(1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    squared = torch.tensor([0.25, 0.09, 0.0225, 0.0025])
    assert shares(Sampling(0.5)) == pytest.approx((squared / squared.sum()).tolist(), abs=0.03)
    assert shares(Sampling(1.0, top_p=0.7)) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)


@pytest.mark.parametrize("sampling", [Sampling(-0.1), Sampling(2.1), Sampling(1, 0), Sampling(1, 1.1)])
def test_what_makes_no_distribution_is_refused(sampling: Sampling) -> None:
    with pytest.raises(InputError, match=r"temperature=|top_p="):
        sampling.check()


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([7] * 23, False),
        ([7] * 24, True),
        ([1, 2] * 12, True),
        ([1, 2] * 11, False),
        ([*range(64), *[9] * 24], True),
        ([*[9] * 24, 8], False),  # it came out again
        ([*range(40), *range(39)], False),
        (list(range(40)) * 2, True),
        (list(range(15)) * 2, False),
        (list(range(15)) * 3, True),
        ([5, *list(range(64)) * 2], True),
        (list(range(65)) * 5, False),  # longer than what is looked for
        ([1, 2, 3, 4, 5, 6, 7] * 4, True),
        ([1, 2, 3, 4, 5, 6, 7] * 3 + [1, 2, 3, 4, 5, 6], False),
        ([], False),
    ],
)
def test_running_in_circles(tokens: list[int], loop: bool) -> None:
    assert runs_in_circles(tokens) is loop


TEXTS = ("Plain words, and no more.", "Zürich, 你好 — 🦙🏔️ done", "  white space  around\n", "🦙", "")


@pytest.mark.parametrize("name", ["byte_tokenizer", "smollm2_tokenizer", "llama2_tokenizer"])
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_make_the_text(request: pytest.FixtureRequest, name: str, text: str) -> None:
    tokenizer = request.getfixturevalue(name)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = list(text_pieces([*ids, tokenizer.eos_token_id], tokenizer))
    assert "".join(pieces) == tokenizer.decode(ids).strip() == text.strip()
    assert len(pieces) == len(ids) + 1  # one for each token, so that a reply can be ended at each
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_reply_that_is_cut_off_ends_with_a_whole_character(byte_tokenizer: Any) -> None:
    ids = byte_tokenizer("ab🦙", add_special_tokens=False).input_ids
    assert len(ids) == 6
    assert ["".join(text_pieces(ids[:n], byte_tokenizer)) for n in range(7)] == [
        "",
        "a",
        "ab",
        "ab",
        "ab",
        "ab",
        "ab🦙",
    ]


def test_bytes_that_are_no_text_do_not_end_it(byte_tokenizer: Any) -> None:
    a, _, _, _, half = byte_tokenizer("a🦙", add_special_tokens=False).input_ids
    assert "".join(text_pieces([a, half, a, half], byte_tokenizer)) == "a\ufffda"
