"""Unpacks 4-bit weights on a GPU and adds a low-rank product on the way: one kernel, one write.

The packing is that of bitsandbytes (Dettmers et al. 2023, arXiv:2305.14314): two codes a byte, the first in the high
half; a scale for each block of `blocksize` values along the rows, itself stored in 8 bits under double quantization.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _noise(index, seed):  # type: ignore[no-untyped-def]
    """32 pseudo-random bits for each index: a multiplicative hash (Knuth) and one round of xorshift and multiply."""
    x = index.to(tl.uint32) * 0x9E3779B1 + seed.to(tl.uint32)
    x = (x ^ (x >> 15)) * 0x85EBCA6B
    return x ^ (x >> 16)


@triton.jit
def _rounded(value, noise):  # type: ignore[no-untyped-def]
    """float32 rounded up or down to bfloat16's values, by 16 random bits."""
    bits = value.to(tl.uint32, bitcast=True) + noise
    return (bits & 0xFFFF0000).to(tl.float32, bitcast=True)


@triton.jit
def _words(first, second):  # type: ignore[no-untyped-def]
    """Pairs of bfloat16 values, given as float32, as the 32-bit words that hold them."""
    low = first.to(tl.bfloat16).to(tl.uint16, bitcast=True).to(tl.uint32)
    high = second.to(tl.bfloat16).to(tl.uint16, bitcast=True).to(tl.uint32)
    return low | (high << 16)


@triton.jit
def scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2: tl.constexpr, NESTED: tl.constexpr):  # type: ignore[no-untyped-def]
    """The scales (float32) of blocks, themselves in 8 bits where `NESTED`."""
    if NESTED:
        scale = tl.load(code2 + tl.load(absmax + blocks, mask=mask, other=0).to(tl.int32))
        scale = scale * tl.load(absmax2 + blocks // BLOCK2, mask=mask, other=0.0) + offset
    else:
        scale = tl.load(absmax + blocks, mask=mask, other=0.0)
    return scale


@triton.jit(do_not_specialize=["seed"])
def _merged_kernel(  # type: ignore[no-untyped-def]
    packed, code, absmax, code2, absmax2, offset, A, B, out, N, K, R, b_row, seed,
    BLOCK: tl.constexpr, BLOCK2: tl.constexpr, NESTED: tl.constexpr, LOW_RANK: tl.constexpr, RANK: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    half: tl.constexpr = BLOCK // 2
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    mask = rows < N
    block = tl.program_id(1)
    blocks = rows * (K // BLOCK) + block
    scale = scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2, NESTED)
    place = blocks[:, None] * half + tl.arange(0, half)[None, :]
    byte = tl.load(packed + place, mask=mask[:, None], other=0).to(tl.int32)
    first = tl.load(code + (byte >> 4)) * scale[:, None]
    second = tl.load(code + (byte & 15)) * scale[:, None]
    if LOW_RANK:
        ranks = tl.arange(0, RANK)
        b = tl.load(B + rows[:, None] * b_row + ranks[None, :], mask=mask[:, None] & (ranks[None, :] < R), other=0.0)
        at = A + ranks[:, None] * K + block * BLOCK + tl.arange(0, BLOCK)[None, :]
        tile = tl.dot(b, tl.load(at, mask=ranks[:, None] < R, other=0.0), acc=tl.interleave(first, second))
        first, second = tl.split(tl.reshape(tile, (BN, half, 2)))
        noise = _noise(place, seed)
        first = _rounded(first, noise & 0xFFFF)
        second = _rounded(second, noise >> 16)
    tl.store(out + place, _words(first, second), mask=mask[:, None])


@triton.jit(do_not_specialize=["seed"])
def _dense_kernel(  # type: ignore[no-untyped-def]
    W,
    A,
    B,
    out,
    N,
    K,
    R,
    b_row,
    seed,
    RANK: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    cols = tl.program_id(1) * BK + tl.arange(0, BK)
    mask = (rows[:, None] < N) & (cols[None, :] < K)
    place = rows[:, None] * K + cols[None, :]
    ranks = tl.arange(0, RANK)
    b = tl.load(B + rows[:, None] * b_row + ranks[None, :], mask=(rows[:, None] < N) & (ranks[None, :] < R), other=0.0)
    a = tl.load(A + ranks[:, None] * K + cols[None, :], mask=(ranks[:, None] < R) & (cols[None, :] < K), other=0.0)
    value = tl.load(W + place, mask=mask, other=0.0).to(tl.float32) + tl.dot(b, a)
    tl.store(out + place, _rounded(value, _noise(place, seed) & 0xFFFF).to(tl.bfloat16), mask=mask)


def _rank(r: int) -> int:
    return max(16, triton.next_power_of_2(r))  # tensor cores take 16 at least


def unpack(state, data: Tensor, out: Tensor, a: Tensor | None, b: Tensor | None, seed: int) -> None:  # type: ignore[no-untyped-def]
    """Write a 4-bit weight (N, K), plus `b @ a` where given, to `out` (N, K) bfloat16.

    `state` is bitsandbytes' QuantState; `a` (r, K) and `b` (N, r) are bfloat16. Sums with a low-rank product are
    rounded stochastically (see `weights.py`), by `seed`.
    """
    n, k = state.shape
    second = state.state2 if state.nested else state
    _merged_kernel[(triton.cdiv(n, 64), k // state.blocksize)](
        data, state.code, state.absmax, second.code, second.absmax, offset_of(state),
        a if a is not None else data, b if b is not None else data, out.view(torch.int32), n, k,
        a.shape[0] if a is not None else 0, b.stride(0) if b is not None else 0, seed,
        BLOCK=state.blocksize, BLOCK2=second.blocksize, NESTED=state.nested, LOW_RANK=a is not None,
        RANK=_rank(a.shape[0]) if a is not None else 16, BN=64, num_warps=4,
    )  # fmt: skip


def offset_of(state) -> float:  # type: ignore[no-untyped-def]
    """The mean that double quantization takes off scales, read from the device once."""
    if not state.nested:
        return 0.0
    if not hasattr(state, "offset_on_host"):
        state.offset_on_host = float(state.offset)
    return state.offset_on_host  # type: ignore[no-any-return]


def add_low_rank(weight: Tensor, out: Tensor, a: Tensor, b: Tensor, seed: int) -> None:
    """Write `weight + b @ a` (N, K), stochastically rounded, to `out`, all bfloat16."""
    n, k = weight.shape
    rank = _rank(a.shape[0])
    bn, bk = (64, 128) if rank <= 64 else (32, 64)
    _dense_kernel[(triton.cdiv(n, bn), triton.cdiv(k, bk))](
        weight, a, b, out, n, k, a.shape[0], b.stride(0), seed, RANK=rank, BN=bn, BK=bk, num_warps=8
    )
