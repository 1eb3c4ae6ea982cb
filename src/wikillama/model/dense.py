"""4-bit weights as they compute, unpacked once instead of at every step.

On a CPU a 4-bit product unpacks the whole weight and then multiplies, so that generating a token costs the unpacking of
the entire model. Where the unpacked weights fit, unpacking them once gives the same products many times faster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from wikillama.model.quantization import is_four_bit

if TYPE_CHECKING:
    import bitsandbytes as bnb

LARGEST = 2**31  # bytes of unpacked weights; more is left packed, since packing was what made it fit


@contextmanager
def dense_weights(model: nn.Module) -> Iterator[None]:
    """While the context lasts, 4-bit layers on a CPU hold their unpacked weights; nothing happens on a GPU.

    Products and so logits are the same: both multiply with the same unpacked values in the same dtype.
    """
    packed = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if is_four_bit(child) and child.weight.device.type == "cpu"
    ]
    size = sum(child.in_features * child.out_features * _dtype(child).itemsize for *_, child in packed)
    if size > LARGEST:
        packed = []
    try:
        for parent, name, child in packed:
            setattr(parent, name, _dense(child))
        yield
    finally:
        for parent, name, child in packed:
            setattr(parent, name, child)


def _dtype(layer: "bnb.nn.Linear4bit") -> torch.dtype:
    dtype: torch.dtype = layer.compute_dtype or _packing(layer).dtype
    return dtype


def _packing(layer: "bnb.nn.Linear4bit") -> "bnb.functional.QuantState":
    return layer.weight.quant_state  # type: ignore[attr-defined,no-any-return]


def _dense(layer: "bnb.nn.Linear4bit") -> nn.Linear:
    import bitsandbytes as bnb

    weight = bnb.functional.dequantize_4bit(layer.weight.data, _packing(layer)).to(_dtype(layer))
    with torch.device("meta"):
        dense = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    dense.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        dense.bias = layer.bias
    return dense.train(layer.training)
