"""The loss of replies against transformers' own, and of packed rows against rows of their own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.data.batching import Batch, Collator, PackingCollator, sequence_numbers
from wikillama.data.encode import IGNORED, Encoded
from wikillama.model.base import Base
from wikillama.model.loss import block_causal_mask, reply_loss


def examples() -> list[Encoded]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((40, 38), (33, 12), (9, 1), (64, 63), (20, 20))  # length and prompt; the last has no reply
    return [Encoded(torch.randint(512, (n,), generator=generator).tolist(), prompt) for n, prompt in shapes]


@pytest.fixture
def attentive(trained: Callable[..., Any]) -> Callable[..., Any]:
    """`trained(...)`, its matrices enlarged where they are not quantized: what a token sees then changes much."""

    def build(peft: str) -> Any:
        torch.manual_seed(0)
        model = trained(f"peft={peft}")
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and parameter.dtype == torch.float32 and "lora_" not in name:
                parameter.data *= 8
        return model

    return build


def rows(examples: list[Encoded]) -> Batch:
    """The five examples of above as three packed rows, in another order: one full, one alone, one with padding."""
    a, b, c, d, e = examples
    return PackingCollator(pad_id=0)([[d, a], [c, e, b], [b]])


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


def test_packed_tokens_see_their_own_example_up_to_themselves() -> None:
    batch = PackingCollator(pad_id=0)([[Encoded([1, 2, 3], 1), Encoded([4, 5], 1)], [Encoded([6], 1)]])
    first, second = block_causal_mask(batch)[:, 0].int().tolist()
    assert first == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1, 1, 1],
    ]
    assert second[0] == [1, *[0] * 7]
    assert second[7] == [0, *[1] * 7]


@pytest.mark.parametrize("peft", ["none", "lora", "dora", "qlora"])
def test_packed_rows_have_the_loss_of_their_examples(attentive: Callable[..., Any], peft: str) -> None:
    model = attentive(peft)
    a, b, c, d, e = examples()
    with torch.no_grad():
        packed, packed_count = reply_loss(model, rows(examples()))
        padded, padded_count = reply_loss(model, Collator(pad_id=0)([a, b, b, c, d, e]))
    assert int(packed_count) == int(padded_count) == 2 + 21 + 21 + 8 + 1
    assert float(packed) == pytest.approx(float(padded), rel=1e-5)


@pytest.mark.parametrize("peft", ["none", "lora", "dora", "qlora"])
def test_packed_rows_have_the_gradient_of_their_examples(attentive: Callable[..., Any], peft: str) -> None:
    model = attentive(peft)
    a, b, c, d, e = examples()
    found = []
    for batch in (rows(examples()), Collator(pad_id=0)([a, b, b, c, d, e])):
        model.zero_grad()
        reply_loss(model, batch)[0].backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    packed, padded = found
    assert len(packed) == len(padded) == sum(p.requires_grad for p in model.parameters())
    for name, gradient in padded.items():
        assert float(gradient.norm()) > 0
        assert float((packed[name] - gradient).norm()) < 1e-5 * float(gradient.norm()), name


@pytest.mark.parametrize("changed", range(4))
def test_no_example_of_a_row_hears_of_another(attentive: Callable[..., Any], changed: int) -> None:
    model = attentive("lora")
    row = [Encoded(e.input_ids, min(e.prompt_length, len(e.input_ids) - 4)) for e in examples()[:4]]
    other = Encoded([(token + 7) % 512 for token in row[changed].input_ids], row[changed].prompt_length)
    before = PackingCollator(pad_id=0)([row])
    after = PackingCollator(pad_id=0)([[*row[:changed], other, *row[changed + 1 :]]])
    for number in range(4):
        losses = []
        for batch in (before, after):
            others = sequence_numbers(batch) != number + 1
            one = {**batch, "labels": batch["labels"].masked_fill(others, IGNORED)}
            with torch.no_grad():
                losses.append(float(reply_loss(model, one)[0]))
        assert losses[0] > 0
        if number == changed:
            assert losses[0] != pytest.approx(losses[1], rel=1e-2)
        else:
            assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_without_its_bounds_a_row_would_leak(attentive: Callable[..., Any]) -> None:
    """So that the tests above say something: plainly causal, examples see the ones before them."""
    model = attentive("lora")
    batch = rows(examples())
    leaking = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        apart, count = reply_loss(model, batch)
        leaked, same_count = reply_loss(model, leaking)
    assert int(count) == int(same_count)
    assert float(leaked) != pytest.approx(float(apart), rel=1e-3)


def test_padding_of_packed_rows_adds_nothing(attentive: Callable[..., Any]) -> None:
    model = attentive("lora")
    short, long = Encoded([5, 6, 7, 8, 9], 2), examples()[3]
    with torch.no_grad():
        together, _ = reply_loss(model, PackingCollator(pad_id=0)([[short], [long]]))
        alone = [reply_loss(model, PackingCollator(pad_id=511)([[e]]))[0] for e in (short, long)]
    assert float(together) == pytest.approx(sum(map(float, alone)), rel=1e-5)
