"""Products of the frozen base in 8-bit floating point (e4m3), on GPUs that have them: Hopper, Ada, Blackwell.

4-bit weights are unpacked straight to 8 bits, laid out as each product wants them, with a scale for each row;
activations and gradients get a scale for each token. Adapters keep their own products in bfloat16, since an update of
an adapter would drown in the rounding of 8 bits. The format is that of Micikevicius et al. 2022, arXiv:2209.05433.
"""

from collections.abc import Sequence

import bitsandbytes as bnb
import torch
from torch import Tensor, nn

from wikillama.model.kernels.weights import AddedGroup, Call, FrozenLinear

LARGEST = 448.0  # of e4m3


def has_fp8(device: torch.device) -> bool:
    """Whether the device multiplies 8-bit floating point numbers."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


class Fp8Group(AddedGroup):
    """A group whose weights are 4-bit and multiply in 8 bits."""

    def __init__(self, parts: Sequence[FrozenLinear], dtype: torch.dtype) -> None:
        super().__init__(parts, dtype)
        if not all(isinstance(part.base, bnb.nn.Linear4bit) for part in parts):
            raise ValueError("weights that are not 4-bit")
        if any(size % 16 for size in (self.in_features, *self.bounds)):
            raise ValueError("a layer whose width is no multiple of 16")
        rows, columns = [], []
        for part in parts:
            size = _dense(part.base).abs()
            rows.append(size.amax(1))
            columns.append(size.amax(0))
        self.row_scales = (torch.cat(rows).float() / LARGEST).clamp_(min=1e-12)
        self.column_scales = (torch.stack(columns).amax(0).float() / LARGEST).clamp_(min=1e-12)
        self.inverse_row_scales, self.inverse_column_scales = 1 / self.row_scales, 1 / self.column_scales

    def product(self, x: Tensor, call: Call) -> Tensor:
        from wikillama.model.kernels import fp8_triton

        weight = _bytes(call.buffer, self.out_features, self.in_features)
        for i, part in enumerate(self.parts):
            rows = slice(self.bounds[i], self.bounds[i + 1])
            fp8_triton.unpack(part.base.weight, weight[rows], self.inverse_row_scales[rows])
        return _scaled(x, weight, self.row_scales)

    def transposed_product(self, dy: Tensor, call: Call) -> Tensor:
        from wikillama.model.kernels import fp8_triton

        weight = _bytes(call.buffer, self.in_features, self.out_features)
        for i, part in enumerate(self.parts):
            fp8_triton.unpack_transposed(part.base.weight, weight, self.bounds[i], self.inverse_column_scales)
        return _scaled(dy, weight, self.column_scales)


def _scaled(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """x times the transpose of an 8-bit weight whose rows are to be multiplied with `scales`."""
    from wikillama.model.kernels import fp8_triton

    x8, x_scales = fp8_triton.quantize_rows(x)
    return torch._scaled_mm(x8, weight.t(), x_scales, scales[None, :], out_dtype=x.dtype, use_fast_accum=True)


def _dense(base: nn.Linear) -> Tensor:
    weight = base.weight
    return bnb.functional.dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[attr-defined,no-any-return]


def _bytes(buffer: Tensor, rows: int, columns: int) -> Tensor:
    """The start of the buffer as an 8-bit matrix."""
    return buffer.view(torch.float8_e4m3fn)[: rows * columns].view(rows, columns)
