"""The likelihood of the human replies: over reply tokens alone, however they are batched, and asked for once."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.config.schema import EvaluationConfig
from wikillama.data.batching import Collator
from wikillama.data.encode import Encoded
from wikillama.evaluation.likelihood import likelihoods, ratio
from wikillama.evaluation.system import System
from wikillama.model.loss import reply_loss

Build = Callable[..., System]


def in_batches(size: int, tokens: int = 1000) -> EvaluationConfig:
    return EvaluationConfig(batch_size=size, batch_tokens=tokens)


def ragged() -> list[Encoded]:
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randint(512, (n,), generator=generator).tolist() for n in (5, 30, 12, 7, 64, 9, 21)]
    return [Encoded(ids, len(ids) // 3) for ids in draw]


@pytest.mark.parametrize("batches", [(1, 1000), (3, 1000), (7, 1000), (7, 40)])
def test_each_is_the_sum_over_its_reply(system: Build, tiny_base: Any, batches: tuple[int, int]) -> None:
    found = likelihoods(system(), ragged(), in_batches(*batches))
    for likely, example in zip(found, ragged(), strict=True):
        with torch.no_grad():
            logits = tiny_base.model(torch.tensor([example.input_ids])).logits[0]
            loss, tokens = reply_loss(tiny_base.model, Collator(pad_id=0)([example]))
        by_hand = -sum(
            float(logits[place - 1].log_softmax(-1)[example.input_ids[place]])
            for place in range(example.prompt_length, len(example.input_ids))
        )
        assert likely.tokens == int(tokens) == len(example.input_ids) - example.prompt_length
        assert likely.nll == pytest.approx(by_hand, rel=1e-5)
        assert likely.nll == pytest.approx(float(loss), rel=1e-5)


def test_what_is_remembered_is_not_computed_again(system: Build, refuse: Any) -> None:
    first = likelihoods(system(), ragged(), in_batches(3))
    assert likelihoods(system(load=refuse), ragged()[::-1], in_batches(2)) == first[::-1]
    shorter = [Encoded(example.input_ids, example.prompt_length + 1) for example in ragged()]
    with pytest.raises(AssertionError, match="loaded"):
        likelihoods(system(load=refuse), shorter, in_batches(3))
    assert [x.tokens for x in likelihoods(system(), shorter, in_batches(3))] == [x.tokens - 1 for x in first]
    with pytest.raises(AssertionError, match="loaded"):
        likelihoods(system("another", load=refuse), ragged(), in_batches(3))


def test_a_ratio_is_of_totals() -> None:
    found = ratio([20.0, 8.0, 0.0], [10.0, 2.0, 2.0], ["a", "b", "b"], resamples=400)
    assert found.value == pytest.approx(28 / 14)
    assert found.n == 3


def test_its_interval_is_of_resampled_dialogues() -> None:
    """Of two dialogues, a quarter of the resamples holds the one twice, a quarter the other."""
    found = ratio([20.0, 4.0, 4.0], [10.0, 1.0, 1.0], ["a", "b", "b"], resamples=400)
    assert (found.low, found.high) == (2.0, 4.0)
    assert found.value == pytest.approx(28 / 12)
    same = ratio([20.0, 4.0, 8.0], [10.0, 2.0, 4.0], ["a", "b", "c"], resamples=400)
    assert (same.low, same.value, same.high) == (2.0, 2.0, 2.0)
    drawn = torch.Generator().manual_seed(1)
    nll = torch.rand(400, generator=drawn).tolist()
    many = ratio(nll, [1.0] * 400, [str(n) for n in range(400)], resamples=4000)
    half = 1.96 * float(torch.tensor(nll).std()) / 20  # the normal approximation for 400 independent turns
    assert many.low == pytest.approx(many.value - half, abs=half / 10)
    assert many.high == pytest.approx(many.value + half, abs=half / 10)


def test_one_dialogue_has_no_interval() -> None:
    found = ratio([20.0, 8.0], [10.0, 4.0], ["a", "a"], resamples=100)
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
