"""Frozen weights of linear layers as the fused step multiplies with them: unpacked into one reused buffer.

A LoRA layer computes `x W^T + s (x A^T) B^T`. Here `W + s B A` is formed while W is unpacked, so that a layer with
adapters costs one matrix product forward and one for its input's gradient, as one without. In bfloat16 the sum is
rounded stochastically: most updates of an adapter are smaller than half a unit in the last place of W, and rounding to
nearest would lose them, while stochastic rounding is right in the mean (Gupta et al. 2015, arXiv:1502.02551) and its
noise, 2^-9 of a weight, is that of a bfloat16 product.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import bitsandbytes as bnb
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

ADAPTER = "default"
Pair = tuple[Tensor, Tensor]  # s A (r, in) and B (out, r)


@dataclass(frozen=True, slots=True)
class FrozenLinear:
    """A linear layer and its adapter, if it has one. `a` (r, in) and `b` (out, r) are the trained parameters."""

    base: nn.Linear
    a: nn.Parameter | None
    b: nn.Parameter | None
    scaling: float
    dropout: float = 0.0  # of the adapter's input

    @property
    def out_features(self) -> int:
        return self.base.out_features


def frozen_linear(module: nn.Module) -> FrozenLinear:
    """What PEFT made of a linear layer. Raises ValueError for what the fused step does not compute."""
    if isinstance(module, LoraLayer):
        base = module.get_base_layer()
        problem = _unsupported(module, base)
        if problem:
            raise ValueError(problem)
        return FrozenLinear(
            base,  # type: ignore[arg-type]
            module.lora_A[ADAPTER].weight,  # type: ignore[arg-type]
            module.lora_B[ADAPTER].weight,  # type: ignore[arg-type]
            float(module.scaling[ADAPTER]),
            float(getattr(module.lora_dropout[ADAPTER], "p", 0.0)),
        )
    if isinstance(module, bnb.nn.Linear8bitLt):
        raise ValueError("int8 weights")
    if not isinstance(module, nn.Linear) or module.bias is not None:
        raise ValueError("a layer with a bias")
    return FrozenLinear(module, None, None, 0.0)


def _unsupported(module: LoraLayer, base: nn.Module) -> str | None:
    if list(module.active_adapters) != [ADAPTER] or module.merged:  # type: ignore[attr-defined]
        return "adapters that are merged, switched off or several"
    if module.use_dora.get(ADAPTER, False):
        return "DoRA"
    if isinstance(base, bnb.nn.Linear8bitLt):
        return "int8 weights"
    if not isinstance(base, nn.Linear) or base.bias is not None or module.lora_bias.get(ADAPTER, False):
        return "a layer with a bias"
    if isinstance(base, bnb.nn.Linear4bit) and base.in_features % base.weight.quant_state.blocksize:
        return "4-bit blocks that span rows"
    return None


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a group: the buffer its weights are unpacked into, a seed that forward and backward share."""

    buffer: Tensor
    seed: int
    training: bool


class Group:
    """Linear layers that share their input: their weights stand one below the other, for one product.

    `a` (ranks, in) holds `s A` of the parts that have an adapter, one below the other, and `b` (out, ranks) their B
    along its diagonal, zero elsewhere, so that one product serves all parts. Both have the dtype of products; `refresh`
    brings them up to date.
    """

    def __init__(self, parts: Sequence[FrozenLinear], dtype: torch.dtype) -> None:
        self.parts = tuple(parts)
        self.in_features = parts[0].base.in_features
        self.bounds = _sums(part.out_features for part in parts)
        self.out_features = self.bounds[-1]
        self.adapted = [i for i, part in enumerate(parts) if part.a is not None]
        self.parameters = [p for i in self.adapted for p in (parts[i].a, parts[i].b) if p is not None]
        self.ranks = _sums(p.shape[0] for p in self.parameters[::2])
        device = parts[0].base.weight.device
        self.a = torch.empty(self.ranks[-1], self.in_features, dtype=dtype, device=device)
        self.b = torch.zeros(self.out_features, self.ranks[-1], dtype=dtype, device=device)
        scales: list[float] = []  # s of each row of `a`
        self.pairs: list[Pair | None] = [None] * len(parts)  # views of `a` and `b`, where a part has an adapter
        for i, (low, high) in zip(self.adapted, pairwise(self.ranks), strict=True):
            self.pairs[i] = self.a[low:high], self.b[self.bounds[i] : self.bounds[i + 1], low:high]
            scales += [parts[i].scaling] * (high - low)
        self.scales = torch.tensor(scales, device=device)[:, None]

    @property
    def numel(self) -> int:
        return self.in_features * self.out_features

    def weight(self, call: Call, merged: bool = True) -> Tensor:
        """The weights, with their adapters or without, (out, in), in the buffer; valid until the next call."""
        if len(self.parts) == 1 and not self.adapted and type(self.parts[0].base) is nn.Linear:
            return self.parts[0].base.weight
        out = call.buffer[: self.numel].view(self.out_features, self.in_features)
        for i, part in enumerate(self.parts):
            pair = self.pairs[i] if merged else None
            _write(part.base, out[self.bounds[i] : self.bounds[i + 1]], pair, call.seed + i)
        return out

    def forward(self, x: Tensor, call: Call, residual: Tensor | None = None) -> Tensor:
        """The outputs (tokens, out) for x (tokens, in), plus `residual` where given."""
        weight = self.weight(call).t()
        return x @ weight if residual is None else torch.addmm(residual, x, weight)

    def through_b(self, dy: Tensor) -> Tensor:
        """dy (tokens, out) times each B: (tokens, ranks)."""
        return dy @ self.b

    def input_gradient(self, dy: Tensor, dyb: Tensor, call: Call) -> Tensor:
        """The gradient of x (tokens, in) from dy (tokens, out) and `through_b(dy)`."""
        return dy @ self.weight(call)

    def gradients(self, x: Tensor, dy: Tensor, dyb: Tensor, call: Call) -> list[Tensor]:
        """Gradients of `parameters` from x, dy and `through_b(dy)`; float32 on a GPU."""
        if not self.adapted:
            return []
        xa = x @ self.a.t()
        of_b = [
            _wide_mm(dy[:, self.bounds[i] : self.bounds[i + 1]].t(), xa[:, self.ranks[place] : self.ranks[place + 1]])
            for place, i in enumerate(self.adapted)
        ]
        of_a = _wide_mm(dyb.t(), x).mul_(self.scales).split([high - low for low, high in pairwise(self.ranks)])
        return [gradient for pair in zip(of_a, of_b, strict=True) for gradient in pair]


class AddedGroup(Group):
    """A group whose adapters' products are added to those of the frozen weights, as dropout of their input needs.

    Layers that share their input share the dropped elements, too; PEFT draws them for each layer.
    """

    def forward(self, x: Tensor, call: Call, residual: Tensor | None = None) -> Tensor:
        y = self.product(x, call)
        if self.adapted:
            y.addmm_(self._dropped(x, call) @ self.a.t(), self.b.t())
        return y if residual is None else y.add_(residual)

    def input_gradient(self, dy: Tensor, dyb: Tensor, call: Call) -> Tensor:
        dx = self.transposed_product(dy, call)
        if not self.adapted:
            return dx
        mask = self._mask(len(dy), call)
        return dx.addmm_(dyb, self.a) if mask is None else dx.add_((dyb @ self.a).mul_(mask))

    def gradients(self, x: Tensor, dy: Tensor, dyb: Tensor, call: Call) -> list[Tensor]:
        return super().gradients(self._dropped(x, call), dy, dyb, call)

    def product(self, x: Tensor, call: Call) -> Tensor:
        """x times the frozen weights alone."""
        return x @ self.weight(call, merged=False).t()

    def transposed_product(self, dy: Tensor, call: Call) -> Tensor:
        """dy times the frozen weights alone."""
        return dy @ self.weight(call, merged=False)

    def _dropped(self, x: Tensor, call: Call) -> Tensor:
        mask = self._mask(len(x), call)
        return x if mask is None else x * mask

    def _mask(self, tokens: int, call: Call) -> Tensor | None:
        """What keeps or drops each element of an input, (tokens, in); the same in forward and backward."""
        rate = max(part.dropout for part in self.parts)
        if not call.training or rate == 0.0 or not self.adapted:
            return None
        generator = torch.Generator(self.a.device).manual_seed(call.seed)
        kept = torch.empty(tokens, self.in_features, dtype=self.a.dtype, device=self.a.device)
        return kept.bernoulli_(1 - rate, generator=generator).div_(1 - rate)


def refresh(groups: Iterable[Group]) -> None:
    """Bring `a` and `b` of all groups up to date with the trained parameters, in a few launches."""
    groups = list(groups)
    of_a: list[Tensor] = [p for group in groups for p in group.parameters[::2]]
    if not of_a:
        return
    of_b: list[Tensor] = [p for group in groups for p in group.parameters[1::2]]
    scales = [group.parts[i].scaling for group in groups for i in group.adapted]
    pairs = [pair for group in groups for pair in group.pairs if pair is not None]
    with torch.no_grad():
        torch._foreach_copy_([a for a, _ in pairs], torch._foreach_mul(of_a, scales))
        torch._foreach_copy_([b for _, b in pairs], of_b)


def _sums(sizes: Iterable[int]) -> list[int]:
    return [0, *accumulate(sizes)]


def _wide_mm(a: Tensor, b: Tensor) -> Tensor:
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32)
    return a @ b


def _write(base: nn.Linear, out: Tensor, pair: Pair | None, seed: int) -> None:
    packed = isinstance(base, bnb.nn.Linear4bit)
    weight = base.weight
    if out.device.type == "cuda":
        from wikillama.model.kernels import nf4_triton

        a, b = pair or (None, None)
        if packed:
            nf4_triton.unpack(weight.quant_state, weight.data, out, a, b, seed)  # type: ignore[attr-defined]
        elif a is not None and b is not None:
            nf4_triton.add_low_rank(weight, out, a, b, seed)
        else:
            out.copy_(weight)
        return
    dense = bnb.functional.dequantize_4bit(weight.data, weight.quant_state) if packed else weight.data  # type: ignore[attr-defined]
    if pair is None:
        out.copy_(dense)
    else:
        torch.addmm(dense.to(out.dtype), pair[1], pair[0], out=out)
