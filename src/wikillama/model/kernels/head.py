"""The last norm, the output head and its cross entropy in slices, without the logits of all tokens at once.

As Liger's fused linear cross entropy does (Hsu et al. 2024, arXiv:2410.10989): gradients are taken in the forward pass,
a slice at a time, and logits are overwritten by their own gradient.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from wikillama.model.kernels.layer import ops_for

SLICE = 2048  # tokens whose logits exist at once


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, targets: Tensor, llama: LlamaForCausalLM) -> Tensor:
        total = torch.zeros((), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        ctx.gradient = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        for start in range(0, len(rows), SLICE):
            places = rows[start : start + SLICE]
            total += _slice(x, places, targets[start : start + SLICE], llama, ctx.gradient)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:  # type: ignore[override]
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(scale), None, None, None


def _slice(x: Tensor, places: Tensor, targets: Tensor, llama: LlamaForCausalLM, gradient: Tensor | None) -> Tensor:
    """The loss at some places of x, whose gradient is written to `gradient`. Its logits are gone when it returns."""
    ops, norm, head = ops_for(x), llama.model.norm, llama.lm_head.weight
    piece = x[places]
    logits = ops.rms_norm(piece, norm.weight, norm.variance_epsilon) @ head.t()
    loss: Tensor = ops.cross_entropy_(logits, targets).sum()
    if gradient is not None:
        of_piece = ops.rms_norm_backward(logits @ head, piece, norm.weight, norm.variance_epsilon, None)
        gradient.index_copy_(0, places, of_piece)
    return loss


def head_loss(x: Tensor, rows: Tensor, targets: Tensor, llama: LlamaForCausalLM) -> Tensor:
    """The summed cross entropy (scalar, float32) of `targets` (n,) at the places `rows` (n,) of x (tokens, hidden)."""
    return _HeadLoss.apply(x, rows, targets, llama)  # type: ignore[no-any-return]
