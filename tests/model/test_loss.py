"""The loss of replies against transformers' own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.data.batching import Collator
from wikillama.data.encode import Encoded
from wikillama.model.base import Base
from wikillama.model.loss import reply_loss


def examples() -> list[Encoded]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((40, 38), (33, 12), (9, 1), (64, 63), (20, 20))  # length and prompt; the last has no reply
    return [Encoded(torch.randint(512, (n,), generator=generator).tolist(), prompt) for n, prompt in shapes]


@pytest.mark.parametrize("peft", ["none", "lora", "dora"])
def test_equals_transformers_mean_times_targets(trained: Callable[..., Any], peft: str) -> None:
    model = trained(f"peft={peft}")
    batch = Collator(pad_id=0)(examples())
    assert (batch["attention_mask"] == 0).any()
    with torch.no_grad():
        loss, count = reply_loss(model, batch)
        expected = model(**batch).loss
    assert int(count) == 2 + 21 + 8 + 1
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(expected) * int(count), rel=1e-6)


def test_gradients_equal_transformers(trained: Callable[..., Any]) -> None:
    model = trained("peft=lora")
    batch = Collator(pad_id=0)(examples())
    found = []
    for compute in (lambda: torch.div(*reply_loss(model, batch)), lambda: model(**batch).loss):
        model.zero_grad()
        compute().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1])


def test_padding_adds_nothing(trained: Callable[..., Any]) -> None:
    model = trained("peft=lora")
    with torch.no_grad():
        loss, count = reply_loss(model, Collator(pad_id=0)(examples()))
        alone = [reply_loss(model, Collator(pad_id=511)([e])) for e in examples()]
    assert int(count) == sum(int(n) for _, n in alone)
    assert float(loss) == pytest.approx(sum(float(one) for one, _ in alone), rel=1e-5)


def test_a_batch_without_targets_is_zero_and_has_a_gradient(trained: Callable[..., Any]) -> None:
    model = trained("peft=lora")
    loss, count = reply_loss(model, Collator(pad_id=0)(examples()[-1:]))
    assert (loss.item(), int(count)) == (0.0, 0)
    loss.backward()


def test_bfloat16_sums_in_float32(tiny: Callable[..., Base]) -> None:
    model = tiny("peft=lora", "model.dtype=bfloat16").model
    with torch.no_grad():
        loss, _ = reply_loss(model, Collator(pad_id=0)(examples()))
    assert loss.dtype == torch.float32
