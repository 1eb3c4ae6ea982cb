"""Causal attention within each of several sequences that stand one behind the other."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

CAUSAL = (-1, 0)


@dataclass(frozen=True, slots=True)
class Sequences:
    """Where sequences begin and end: `bounds` (sequences + 1) int32 on the device, `longest` in tokens."""

    bounds: Tensor
    longest: int


def attend(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences) -> Tensor:
    """Attention of q (tokens, heads, size) to k and v (tokens, key heads, size): (tokens, heads, size).

    By torch's variable-length flash attention (Dao 2023, arXiv:2307.08691) on a GPU, by sequence elsewhere.
    """
    grouped: dict[str, Any] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    if q.device.type == "cuda":
        bounds, longest = sequences.bounds, sequences.longest
        return varlen_attn(q, k, v, bounds, bounds, longest, longest, window_size=CAUSAL, **grouped)  # type: ignore[return-value]
    lengths = sequences.bounds.diff().tolist()
    pieces = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
    return torch.cat([_alone(q, k, v, grouped) for q, k, v in pieces])


def _alone(q: Tensor, k: Tensor, v: Tensor, grouped: dict[str, Any]) -> Tensor:
    """One sequence."""
    q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)[0].transpose(0, 1)
