"""Elementwise parts of a Llama layer in plain torch: the meaning of the kernels in `ops_triton`, and the CPU's path."""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * _normed(x, eps)[0].to(x.dtype)


def rms_norm_backward(dy: Tensor, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> Tensor:
    normed, rstd = _normed(x, eps)
    g = (dy * weight).to(normed.dtype)
    dx = rstd * (g - normed * (g * normed).mean(-1, keepdim=True))
    return (dx if residual is None else dx + residual).to(x.dtype)


def _normed(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    wide = x if x.dtype == torch.float64 else x.float()
    rstd = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return wide * rstd, rstd


def rope(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor, inverse: bool = False) -> None:
    half = x.shape[-1] // 2
    c, s = cos[:, None, :half].to(x.dtype), sin[:, None, :half].to(x.dtype)
    if inverse:
        s = -s
    a, b = x[..., :half].clone(), x[..., half:].clone()
    out[..., :half] = a * c - b * s
    out[..., half:] = b * c + a * s


def rope_backward(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    of_q, of_k, of_v = out.split((dq.shape[1], dk.shape[1], dv.shape[1]), 1)
    rope(dq, cos, sin, out=of_q, inverse=True)
    rope(dk, cos, sin, out=of_k, inverse=True)
    of_v.copy_(dv)


def swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, 1)
    return F.silu(gate) * up


def swiglu_backward_(dh: Tensor, gate_up: Tensor) -> None:
    gate, up = gate_up.chunk(2, 1)
    s = torch.sigmoid(gate)
    silu = gate * s
    h = silu * up
    dgate, dup = dh * up * s * (1 + gate - silu), dh * silu
    gate.copy_(dgate)
    up.copy_(dup)
    dh.copy_(h)


def cross_entropy_(logits: Tensor, targets: Tensor) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    log_p = wide.log_softmax(-1)
    losses = -log_p.gather(1, targets[:, None]).squeeze(1)
    probabilities = log_p.exp_()
    probabilities[torch.arange(len(targets), device=targets.device), targets] -= 1
    logits.copy_(probabilities)
    return losses
