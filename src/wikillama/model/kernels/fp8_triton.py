"""Kernels of the 8-bit products: weights from 4 bits to 8 bits, tokens from 16 bits to 8 bits with a scale each."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from wikillama.model.kernels.nf4_triton import offset_of


@triton.jit
def _scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2: tl.constexpr, NESTED: tl.constexpr):  # type: ignore[no-untyped-def]
    if NESTED:
        scale = tl.load(code2 + tl.load(absmax + blocks, mask=mask, other=0).to(tl.int32))
        scale = scale * tl.load(absmax2 + blocks // BLOCK2, mask=mask, other=0.0) + offset
    else:
        scale = tl.load(absmax + blocks, mask=mask, other=0.0)
    return scale


@triton.jit
def _unpack_kernel(  # type: ignore[no-untyped-def]
    packed, code, absmax, code2, absmax2, offset, row_scales, out, N, K,
    BLOCK: tl.constexpr, BLOCK2: tl.constexpr, NESTED: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    mask = rows < N
    blocks = rows * (K // BLOCK) + tl.program_id(1)
    scale = _scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2, NESTED)
    scale = scale / tl.load(row_scales + rows, mask=mask, other=1.0)
    place = blocks[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    byte = tl.load(packed + place // 2, mask=mask[:, None], other=0).to(tl.int32)
    nibble = tl.where(place % 2 == 0, byte >> 4, byte & 15)
    tl.store(out + place, (tl.load(code + nibble) * scale[:, None]).to(tl.float8e4nv), mask=mask[:, None])


@triton.jit
def _unpack_transposed_kernel(  # type: ignore[no-untyped-def]
    packed, code, absmax, code2, absmax2, offset, column_scales, out, N, K, first_row, stride,
    BLOCK: tl.constexpr, BLOCK2: tl.constexpr, NESTED: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    half: tl.constexpr = BLOCK // 2
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    mask = rows < N
    blocks = rows * (K // BLOCK) + tl.program_id(1)
    scale = _scales(absmax, code2, absmax2, offset, blocks, mask, BLOCK2, NESTED)
    inside = tl.arange(0, half)
    byte = tl.load(packed + blocks[:, None] * half + inside[None, :], mask=mask[:, None], other=0).to(tl.int32)
    columns = tl.program_id(1) * BLOCK + 2 * inside
    first = tl.load(code + (byte >> 4)) * scale[:, None] / tl.load(column_scales + columns)[None, :]
    second = tl.load(code + (byte & 15)) * scale[:, None] / tl.load(column_scales + columns + 1)[None, :]
    at = out + columns[:, None] * stride + first_row + rows[None, :]
    tl.store(at, tl.trans(first.to(tl.float8e4nv)), mask=mask[None, :])
    tl.store(at + stride, tl.trans(second.to(tl.float8e4nv)), mask=mask[None, :])


@triton.jit
def _quantize_rows_kernel(X, Y, SCALES, D, stride, BD: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    largest = tl.zeros((BD,), tl.float32)
    for start in range(0, D, BD):
        cols = start + tl.arange(0, BD)
        x = tl.load(X + row * stride + cols, mask=cols < D, other=0.0).to(tl.float32)
        largest = tl.maximum(largest, tl.abs(x))
    scale = tl.maximum(tl.max(largest, 0) / 448.0, 1e-12)
    tl.store(SCALES + row, scale)
    for start in range(0, D, BD):
        cols = start + tl.arange(0, BD)
        x = tl.load(X + row * stride + cols, mask=cols < D, other=0.0).to(tl.float32)
        tl.store(Y + row * D + cols, (x / scale).to(tl.float8e4nv), mask=cols < D)


def unpack(weight, out: Tensor, row_scales: Tensor) -> None:  # type: ignore[no-untyped-def]
    """Write a bitsandbytes 4-bit weight (N, K), each row divided by its scale, to `out` (N, K) e4m3."""
    state = weight.quant_state
    n, k = state.shape
    second = state.state2 if state.nested else state
    _unpack_kernel[(triton.cdiv(n, 64), k // state.blocksize)](
        weight.data, state.code, state.absmax, second.code, second.absmax, offset_of(state), row_scales,
        out, n, k,
        BLOCK=state.blocksize, BLOCK2=second.blocksize, NESTED=state.nested, BN=64, num_warps=4,
    )  # fmt: skip


def unpack_transposed(weight, out: Tensor, first_row: int, column_scales: Tensor) -> None:  # type: ignore[no-untyped-def]
    """Write the same, each column divided by its scale, transposed: to `out` (K, all rows) from column `first_row`."""
    state = weight.quant_state
    n, k = state.shape
    second = state.state2 if state.nested else state
    _unpack_transposed_kernel[(triton.cdiv(n, 128), k // state.blocksize)](
        weight.data, state.code, state.absmax, second.code, second.absmax, offset_of(state), column_scales, out, n, k,
        first_row, out.stride(0),
        BLOCK=state.blocksize, BLOCK2=second.blocksize, NESTED=state.nested, BN=128, num_warps=4,
    )  # fmt: skip


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (tokens, width) in e4m3, and the scale of each token (tokens, 1) float32 that it is to be multiplied with."""
    tokens, width = x.shape
    y = torch.empty(tokens, width, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(tokens, 1, dtype=torch.float32, device=x.device)
    _quantize_rows_kernel[(tokens,)](x, y, scales, width, x.stride(0), BD=4096, num_warps=8)
    return y, scales
