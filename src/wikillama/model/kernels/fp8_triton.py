"""Kernels of the 8-bit products: weights from 4 bits to 8 bits, tokens from 16 bits to 8 bits with a scale each."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from wikillama.model.kernels.nf4_triton import offset_of, scales


@triton.jit
def _unpack_kernel(  # type: ignore[no-untyped-def]
    packed, code, absmax, code2, absmax2, offset, inverse_scales, out, N, K,
    BLOCK: tl.constexpr, BLOCK2: tl.constexpr, NESTED: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    half: tl.constexpr = BLOCK // 2
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    mask = rows < N
    blocks = rows * (K // BLOCK) + tl.program_id(1)
    scale = scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2, NESTED)
    scale = scale * tl.load(inverse_scales + rows, mask=mask, other=1.0)
    byte = tl.load(packed + blocks[:, None] * half + tl.arange(0, half)[None, :], mask=mask[:, None], other=0).to(
        tl.int32
    )
    first = tl.load(code + (byte >> 4)) * scale[:, None]
    second = tl.load(code + (byte & 15)) * scale[:, None]
    place = blocks[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(out + place, tl.interleave(first, second).to(tl.float8e4nv), mask=mask[:, None])


@triton.jit
def _unpack_transposed_kernel(  # type: ignore[no-untyped-def]
    packed, code, absmax, code2, absmax2, offset, inverse_scales, out, N, K, first_row, stride,
    BLOCK: tl.constexpr, BLOCK2: tl.constexpr, NESTED: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    half: tl.constexpr = BLOCK // 2
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    mask = rows < N
    blocks = rows * (K // BLOCK) + tl.program_id(1)
    scale = scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2, NESTED)
    inside = tl.arange(0, half)
    byte = tl.load(packed + blocks[:, None] * half + inside[None, :], mask=mask[:, None], other=0).to(tl.int32)
    columns = tl.program_id(1) * BLOCK + 2 * inside
    first = tl.load(code + (byte >> 4)) * scale[:, None] * tl.load(inverse_scales + columns)[None, :]
    second = tl.load(code + (byte & 15)) * scale[:, None] * tl.load(inverse_scales + columns + 1)[None, :]
    at = out + columns[:, None] * stride + first_row + rows[None, :]
    tl.store(at, tl.trans(first.to(tl.float8e4nv)), mask=mask[None, :])
    tl.store(at + stride, tl.trans(second.to(tl.float8e4nv)), mask=mask[None, :])


@triton.jit
def _quantize_rows_kernel(X, Y, SCALES, D, stride, BD: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BD)
    x = tl.load(X + row * stride + cols, mask=cols < D, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(x), 0) / 448.0, 1e-12)
    tl.store(SCALES + row, scale)
    tl.store(Y + row * D + cols, (x * (1.0 / scale)).to(tl.float8e4nv), mask=cols < D)


def unpack(weight, out: Tensor, inverse_scales: Tensor) -> None:  # type: ignore[no-untyped-def]
    """Write a bitsandbytes 4-bit weight (N, K), row n times `inverse_scales[n]`, to `out` (N, K) e4m3."""
    state = weight.quant_state
    n, k = state.shape
    second = state.state2 if state.nested else state
    _unpack_kernel[(triton.cdiv(n, 128), k // state.blocksize)](
        weight.data, state.code, state.absmax, second.code, second.absmax, offset_of(state), inverse_scales,
        out, n, k,
        BLOCK=state.blocksize, BLOCK2=second.blocksize, NESTED=state.nested, BN=128, num_warps=4,
    )  # fmt: skip


def unpack_transposed(weight, out: Tensor, first_row: int, inverse_scales: Tensor) -> None:  # type: ignore[no-untyped-def]
    """Write it with column k times `inverse_scales[k]`, transposed: to `out` (K, all rows) from column `first_row`."""
    state = weight.quant_state
    n, k = state.shape
    second = state.state2 if state.nested else state
    _unpack_transposed_kernel[(triton.cdiv(n, 128), k // state.blocksize)](
        weight.data, state.code, state.absmax, second.code, second.absmax, offset_of(state), inverse_scales, out, n, k,
        first_row, out.stride(0),
        BLOCK=state.blocksize, BLOCK2=second.blocksize, NESTED=state.nested, BN=128, num_warps=4,
    )  # fmt: skip


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (tokens, width) in e4m3, and the scale of each token (tokens, 1) float32 that it is to be multiplied with."""
    tokens, width = x.shape
    y = torch.empty(tokens, width, dtype=torch.float8_e4m3fn, device=x.device)
    of_rows = torch.empty(tokens, 1, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(width)
    _quantize_rows_kernel[(tokens,)](x, y, of_rows, width, x.stride(0), BD=block, num_warps=4 if width <= 4096 else 8)
    return y, of_rows
