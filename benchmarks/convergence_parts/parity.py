"""Losses and gradients of adapters by one way of computing them against another."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import bitsandbytes as bnb
import torch
from torch import Tensor, nn
from train_step_parts.ours import Loss

from wikillama.data.batching import Batch
from wikillama.data.encode import IGNORED
from wikillama.model.adapters import trainable

Parity = dict[str, float]


class Gradient(NamedTuple):
    """The mean loss of a target token, and its gradient for all adapters in a row (float64, on the CPU)."""

    loss: float
    values: Tensor


def in_float32(model: Any) -> Any:
    """A copy with the same packed weights and adapters, and all else, and all arithmetic, in float32."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.compute_dtype = module.weight.quant_state.dtype = torch.float32  # type: ignore[attr-defined]
        else:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.float()
    return twin


def gradient(loss: Loss, model: Any, batches: Sequence[Batch]) -> Gradient:
    targets_of_all = sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batches)
    mean = 0.0
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        share = loss(model, batch)[0] / targets_of_all
        share.backward()  # type: ignore[no-untyped-call]
        mean += float(share.detach())
    pieces = []
    for parameter in trainable(model).values():
        assert parameter.grad is not None  # noqa: S101
        pieces.append(parameter.grad.detach().double().cpu().flatten())
        parameter.grad = None
    return Gradient(mean, torch.cat(pieces))


def parity(own: Gradient, reference: Gradient, truth: Gradient) -> Parity:
    """How far a loss and a gradient lie from the reference's and from float32's."""
    return {
        "loss": own.loss,
        "loss_relative_to_reference": own.loss / reference.loss - 1,
        "loss_relative_to_float32": own.loss / truth.loss - 1,
        "gradient_norm": float(own.values.norm()),
        "gradient_from_reference": _distance(own.values, reference.values),
        "gradient_from_float32": _distance(own.values, truth.values),
        "cosine_to_float32": float(nn.functional.cosine_similarity(own.values, truth.values, dim=0)),
    }


def _distance(a: Tensor, b: Tensor) -> float:
    """The norm of the difference over the norm of b."""
    return float((a - b).norm() / b.norm())
