"""Elementwise parts of a Llama layer on a GPU, each one pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _rms_norm_kernel(X, W, Y, D, eps, BD: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BD)
    mask = cols < D
    x = tl.load(X + row * D + cols, mask=mask, other=0.0).to(tl.float32)
    w = tl.load(W + cols, mask=mask, other=0.0).to(tl.float32)
    normed = (x * tl.rsqrt(tl.sum(x * x, 0) / D + eps)).to(Y.dtype.element_ty).to(tl.float32)
    tl.store(Y + row * D + cols, (w * normed).to(Y.dtype.element_ty), mask=mask)


@triton.jit
def _rms_norm_backward_kernel(DY, X, W, R, DX, D, eps, HAS_R: tl.constexpr, BD: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BD)
    mask = cols < D
    x = tl.load(X + row * D + cols, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(DY + row * D + cols, mask=mask, other=0.0).to(tl.float32)
    g = g * tl.load(W + cols, mask=mask, other=0.0).to(tl.float32)
    rstd = tl.rsqrt(tl.sum(x * x, 0) / D + eps)
    normed = x * rstd
    dx = rstd * (g - normed * (tl.sum(g * normed, 0) / D))
    if HAS_R:
        dx += tl.load(R + row * D + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(DX + row * D + cols, dx.to(DX.dtype.element_ty), mask=mask)


@triton.jit
def _turn(source, target, cos, sin, mask, HALF: tl.constexpr):  # type: ignore[no-untyped-def]
    a = tl.load(source, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(source + HALF, mask=mask, other=0.0).to(tl.float32)
    tl.store(target, (a * cos - b * sin).to(target.dtype.element_ty), mask=mask)
    tl.store(target + HALF, (b * cos + a * sin).to(target.dtype.element_ty), mask=mask)


@triton.jit
def _rope_kernel(  # type: ignore[no-untyped-def]
    X, Y, COS, SIN, heads, x_token, x_head, y_token, y_head, D: tl.constexpr, BD: tl.constexpr, HB: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    half = tl.arange(0, BD)
    inside = half < D // 2
    cos = tl.load(COS + token * D + half, mask=inside).to(tl.float32)[None, :]
    sin = tl.load(SIN + token * D + half, mask=inside).to(tl.float32)[None, :]
    source = X + token * x_token + head[:, None] * x_head + half[None, :]
    target = Y + token * y_token + head[:, None] * y_head + half[None, :]
    _turn(source, target, cos, sin, (head < heads)[:, None] & inside[None, :], D // 2)


@triton.jit
def _rope_backward_kernel(  # type: ignore[no-untyped-def]
    DQ, DK, DV, Y, COS, SIN, heads, kv_heads, q_token, q_head, k_token, k_head, v_token, v_head,
    D: tl.constexpr, BD: tl.constexpr, HB: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    half = tl.arange(0, BD)
    inside = half < D // 2
    cos = tl.load(COS + token * D + half, mask=inside).to(tl.float32)[None, :]
    sin = -tl.load(SIN + token * D + half, mask=inside).to(tl.float32)[None, :]
    of_q, of_k = tl.cdiv(heads, HB), tl.cdiv(kv_heads, HB)
    place = tl.program_id(1)
    target = Y + token * (heads + 2 * kv_heads) * D + half[None, :]
    if place < of_q:
        head = (place * HB + tl.arange(0, HB))[:, None]
        source = DQ + token * q_token + head * q_head + half[None, :]
        _turn(source, target + head * D, cos, sin, (head < heads) & inside[None, :], D // 2)
    elif place < of_q + of_k:
        head = ((place - of_q) * HB + tl.arange(0, HB))[:, None]
        source = DK + token * k_token + head * k_head + half[None, :]
        _turn(source, target + (heads + head) * D, cos, sin, (head < kv_heads) & inside[None, :], D // 2)
    else:
        head = ((place - of_q - of_k) * HB + tl.arange(0, HB))[:, None]
        source = DV + token * v_token + head * v_head + half[None, :]
        to = target + (heads + kv_heads + head) * D
        mask = (head < kv_heads) & inside[None, :]
        tl.store(to, tl.load(source, mask=mask), mask=mask)
        tl.store(to + D // 2, tl.load(source + D // 2, mask=mask), mask=mask)


@triton.jit
def _swiglu_kernel(GU, H, F, BF: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BF + tl.arange(0, BF)
    mask = cols < F
    g = tl.load(GU + row * 2 * F + cols, mask=mask, other=0.0).to(tl.float32)
    u = tl.load(GU + row * 2 * F + F + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(H + row * F + cols, (g * tl.sigmoid(g) * u).to(H.dtype.element_ty), mask=mask)


@triton.jit
def _swiglu_backward_kernel(DH, GU, F, BF: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BF + tl.arange(0, BF)
    mask = cols < F
    gate, up = GU + row * 2 * F + cols, GU + row * 2 * F + F + cols
    g = tl.load(gate, mask=mask, other=0.0).to(tl.float32)
    u = tl.load(up, mask=mask, other=0.0).to(tl.float32)
    dh = tl.load(DH + row * F + cols, mask=mask, other=0.0).to(tl.float32)
    s = tl.sigmoid(g)
    silu = g * s
    tl.store(gate, (dh * u * s * (1 + g - silu)).to(GU.dtype.element_ty), mask=mask)
    tl.store(up, (dh * silu).to(GU.dtype.element_ty), mask=mask)
    tl.store(DH + row * F + cols, (silu * u).to(DH.dtype.element_ty), mask=mask)


@triton.jit
def _cross_entropy_kernel(LOGITS, TARGETS, LOSSES, V, BV: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    at = LOGITS + row * V
    target = tl.load(TARGETS + row)
    top = -float("inf")
    total = 0.0
    for start in range(0, V, BV):
        cols = start + tl.arange(0, BV)
        x = tl.load(at + cols, mask=cols < V, other=-float("inf")).to(tl.float32)
        new = tl.maximum(top, tl.max(x, 0))
        total = total * tl.exp(top - new) + tl.sum(tl.exp(x - new), 0)
        top = new
    lse = top + tl.log(total)
    tl.store(LOSSES + row, lse - tl.load(at + target).to(tl.float32))
    tl.debug_barrier()  # the target's logit is read before it is overwritten
    for start in range(0, V, BV):
        cols = start + tl.arange(0, BV)
        x = tl.load(at + cols, mask=cols < V, other=-float("inf")).to(tl.float32)
        grad = tl.exp(x - lse) - tl.where(cols == target, 1.0, 0.0)
        tl.store(at + cols, grad.to(LOGITS.dtype.element_ty), mask=cols < V)


def _warps(width: int) -> int:
    return 4 if width <= 2048 else 8 if width <= 8192 else 16


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    y = torch.empty_like(x)
    block = triton.next_power_of_2(x.shape[1])
    _rms_norm_kernel[(x.shape[0],)](x, weight, y, x.shape[1], eps, BD=block, num_warps=_warps(block))
    return y


def rms_norm_backward(dy: Tensor, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> Tensor:
    dx = torch.empty_like(x)
    block = triton.next_power_of_2(x.shape[1])
    _rms_norm_backward_kernel[(x.shape[0],)](
        dy, x, weight, dy if residual is None else residual, dx, x.shape[1], eps,
        HAS_R=residual is not None, BD=block, num_warps=_warps(block),
    )  # fmt: skip
    return dx


def rope(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    tokens, heads, dim = x.shape
    block = min(16, triton.next_power_of_2(heads))
    _rope_kernel[(tokens, triton.cdiv(heads, block))](
        x, out, cos, sin, heads, x.stride(0), x.stride(1), out.stride(0), out.stride(1),
        D=dim, BD=triton.next_power_of_2(dim // 2), HB=block, num_warps=4,
    )  # fmt: skip


def rope_backward(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    tokens, heads, dim = dq.shape
    kv_heads = dk.shape[1]
    block = min(16, triton.next_power_of_2(kv_heads))
    blocks = triton.cdiv(heads, block) + 2 * triton.cdiv(kv_heads, block)
    _rope_backward_kernel[(tokens, blocks)](
        dq, dk, dv, out, cos, sin, heads, kv_heads, dq.stride(0), dq.stride(1), dk.stride(0), dk.stride(1),
        dv.stride(0), dv.stride(1), D=dim, BD=triton.next_power_of_2(dim // 2), HB=block, num_warps=4,
    )  # fmt: skip


def swiglu(gate_up: Tensor) -> Tensor:
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    h = gate_up.new_empty(rows, width)
    _swiglu_kernel[(rows, triton.cdiv(width, 2048))](gate_up, h, width, BF=2048, num_warps=4)
    return h


def swiglu_backward_(dh: Tensor, gate_up: Tensor) -> None:
    rows, width = dh.shape
    _swiglu_backward_kernel[(rows, triton.cdiv(width, 2048))](dh, gate_up, width, BF=2048, num_warps=4)


def cross_entropy_(logits: Tensor, targets: Tensor) -> Tensor:
    losses = torch.empty(logits.shape[0], dtype=torch.float32, device=logits.device)
    _cross_entropy_kernel[(logits.shape[0],)](logits, targets, losses, logits.shape[1], BV=4096, num_warps=8)
    return losses
