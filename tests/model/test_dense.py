"""4-bit weights unpacked for a while: the same logits, and afterwards the same layers."""

from collections.abc import Callable
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from torch import nn

from wikillama.data.batching import Collator
from wikillama.data.encode import Encoded
from wikillama.model import dense
from wikillama.model.base import Base
from wikillama.model.dense import dense_weights
from wikillama.model.loss import reply_loss

IDS = torch.randint(5, 261, (3, 40), generator=torch.Generator().manual_seed(0))
LAYERS = 2 * 7  # of the tiny model: four of attention and three of the MLP in each block


def packed(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", ["nf4", "fp4", "nf4 quantization.double_quant=true"])
def test_logits_are_equal_bit_by_bit(tiny: Callable[..., Base], quantization: str, dtype: str) -> None:
    model = tiny(*f"quantization={quantization} model.dtype={dtype}".split()).model.eval()
    expected = logits(model)
    with dense_weights(model):
        assert packed(model) == []
        found = logits(model)
    assert torch.equal(found, expected)
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("peft", ["qlora", "dora"])
def test_adapters_add_to_unpacked_weights_as_to_packed_ones(trained: Callable[..., Any], peft: str) -> None:
    model = trained("quantization=nf4", f"peft={peft}")
    expected = logits(model)
    with model.disable_adapter():
        assert not torch.allclose(logits(model), expected)
    with dense_weights(model):
        assert packed(model) == []
        assert torch.equal(logits(model), expected)
    assert len(packed(model)) == LAYERS


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_very_layers_come_back_whatever_happens(tiny: Callable[..., Base], error: type[BaseException]) -> None:
    model = tiny("quantization=nf4").model
    before = packed(model)
    weights = [layer.weight.data.clone() for layer in before]
    assert len(before) == LAYERS

    def broken_off() -> None:
        with dense_weights(model):
            logits(model)
            raise error

    with pytest.raises(error):
        broken_off()
    after = packed(model)
    assert [id(layer) for layer in after] == [id(layer) for layer in before]
    for layer, weight in zip(after, weights, strict=True):
        assert torch.equal(layer.weight.data, weight)


def test_training_goes_on_as_before(trained: Callable[..., Any]) -> None:
    model = trained("quantization=nf4", "peft=qlora", "peft.dropout=0.0").train()
    batch = Collator(pad_id=0)([Encoded(row, 10) for row in IDS.tolist()])

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        loss, count = reply_loss(model, batch)
        (loss / count).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    before = gradients()
    with dense_weights(model):
        logits(model)
    after = gradients()
    assert len(after) == 2 * LAYERS
    assert any(bool(gradient.abs().sum() > 0) for gradient in after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(p.requires_grad for name, p in model.named_parameters() if "lora" not in name)


def test_what_is_too_large_stays_packed(tiny: Callable[..., Base], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("quantization=nf4").model
    size = (
        sum(p.numel() for n, p in tiny("quantization=none").model.named_parameters() if n.endswith("proj.weight")) * 4
    )
    for largest, left in ((size - 1, LAYERS), (size, 0)):
        monkeypatch.setattr(dense, "LARGEST", largest)
        with dense_weights(model):
            assert len(packed(model)) == left


def test_layers_without_4_bits_are_left_alone(tiny: Callable[..., Base]) -> None:
    for quantization in ("none", "int8"):
        model = tiny(f"quantization={quantization}").model
        before = [id(module) for module in model.modules()]
        with dense_weights(model):
            assert [id(module) for module in model.modules()] == before


def test_inference_never_lays_weights_out_anew(tiny: Callable[..., Base]) -> None:
    """On CPUs with AVX-512 BF16 bitsandbytes would, and training after it would give lower layers no gradient."""
    model = tiny("quantization=nf4").model.eval()
    assert len(packed(model)) == LAYERS
    assert not any(layer.support_avx512bf16_for_cpu for layer in packed(model))
    logits(model)
    assert not any(getattr(layer.weight.quant_state, "packing_format_for_cpu", False) for layer in packed(model))
