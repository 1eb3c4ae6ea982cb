"""Triton's elementwise kernels against plain torch: on a GPU, or on a CPU by Triton's interpreter (`make kernels`)."""

import os

import pytest
import torch

from wikillama.model.kernels import ops_torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu") if INTERPRETED else torch.device("cuda", 0)
pytestmark = pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="no GPU, no interpreter")


def test_elementwise_kernels_are_what_plain_torch_says() -> None:
    from wikillama.model.kernels import ops_triton

    draw = torch.Generator(DEVICE).manual_seed(0)
    x, dy, residual = (torch.randn(70, 352, generator=draw, device=DEVICE) for _ in range(3))
    weight, targets = torch.rand(352, generator=draw, device=DEVICE), torch.arange(70, device=DEVICE)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(ops_triton.rms_norm(x, weight, 1e-5), ops_torch.rms_norm(x, weight, 1e-5), **close)
    torch.testing.assert_close(
        ops_triton.rms_norm_backward(dy, x, weight, 1e-5, residual),
        ops_torch.rms_norm_backward(dy, x, weight, 1e-5, residual), **close,
    )  # fmt: skip
    torch.testing.assert_close(ops_triton.swiglu(x), ops_torch.swiglu(x), **close)
    for kernel in ("swiglu_backward_", "cross_entropy_"):
        mine, plain = [(dy[:, :176].clone(), x.clone()) if kernel == "swiglu_backward_" else (x.clone(),) for _ in "12"]
        others = () if kernel == "swiglu_backward_" else (targets,)
        given, expected = (getattr(ops, kernel)(*of, *others) for ops, of in ((ops_triton, mine), (ops_torch, plain)))
        for one, other in zip(mine, plain, strict=True):
            torch.testing.assert_close(one, other, **close)
        if given is not None:
            torch.testing.assert_close(given, expected, **close)


def test_heads_are_turned_back_into_one_row() -> None:
    from wikillama.model.kernels import ops_triton

    draw = torch.Generator(DEVICE).manual_seed(0)
    for heads, kv_heads, size in ((9, 3, 64), (4, 4, 24)):
        dq, dk, dv = (torch.randn(33, n, size, generator=draw, device=DEVICE) for n in (heads, kv_heads, kv_heads))
        angle = torch.rand(33, size // 2, generator=draw, device=DEVICE).repeat(1, 2)
        mine, plain = (torch.empty(33, heads + 2 * kv_heads, size, device=DEVICE) for _ in "12")
        ops_triton.rope_backward(dq, dk, dv, angle.cos(), angle.sin(), out=mine)
        ops_torch.rope_backward(dq, dk, dv, angle.cos(), angle.sin(), out=plain)
        torch.testing.assert_close(mine, plain)
