"""Perplexity of the human replies: over all reply tokens of the corpus, however they are batched."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.data.encode import Encoded
from wikillama.evaluation.likelihood import Likelihood, likelihood
from wikillama.model.base import load_base

PAD = 0


def test_perplexity_is_of_the_corpus_mean() -> None:
    nll = 2.0 * 10 + 4.0 * 2  # ten tokens of 2 nats and two of 4
    assert Likelihood(nll / 12, 12).perplexity == pytest.approx(10.3123, abs=1e-4)


@pytest.fixture(scope="module")
def tiny(compose: Callable[..., Any]) -> Any:
    cfg = compose("model=tiny", name="prepare")
    return load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir).model


def ragged() -> list[Encoded]:
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randint(512, (n,), generator=generator).tolist() for n in (5, 30, 12, 7, 64, 9, 21)]
    return [Encoded(ids, len(ids) // 3) for ids in draw]


def test_loss_is_the_mean_over_reply_tokens(tiny: Any) -> None:
    total, tokens = 0.0, 0
    for example in ragged():
        with torch.no_grad():
            logits = tiny(torch.tensor([example.input_ids])).logits[0]
        for place in range(example.prompt_length, len(example.input_ids)):
            total -= float(logits[place - 1].log_softmax(-1)[example.input_ids[place]])
            tokens += 1
    found = likelihood(tiny, ragged(), PAD, batch_size=3)
    assert found.tokens == tokens
    assert found.loss == pytest.approx(total / tokens, rel=1e-5)


def test_batches_and_padding_do_not_change_it(tiny: Any) -> None:
    alone = likelihood(tiny, ragged(), PAD, batch_size=1)
    for size, pad in ((2, PAD), (7, PAD), (7, 511)):
        together = likelihood(tiny, ragged(), pad, batch_size=size)
        assert together.tokens == alone.tokens
        assert together.loss == pytest.approx(alone.loss, rel=1e-5)
