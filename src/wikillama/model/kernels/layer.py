"""A Llama decoder layer as one autograd function, its backward derived by hand.

Kept for the backward pass is only what no elementwise pass gives again, and nothing is spent on gradients of frozen
weights. To derive LoRA's backward by hand is unsloth's idea (unslothai/unsloth, unsloth/kernels/fast_lora.py); here the
function spans a whole layer, so that adapters are formed in the weights (see `weights.py`) and a recomputed layer
(Chen et al. 2016, arXiv:1604.06174) leaves out its last product.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from wikillama.model.kernels import ops_torch
from wikillama.model.kernels.attention import Sequences, attend
from wikillama.model.kernels.offload import Shelf
from wikillama.model.kernels.weights import Call, FrozenLinear, Group, frozen_linear


@dataclass(frozen=True, slots=True)
class Layer:
    """The parts of a decoder layer."""

    norm1: Tensor
    qkv: Group
    out: Group
    norm2: Tensor
    gate_up: Group
    down: Group
    eps: float
    heads: int
    kv_heads: int

    @property
    def groups(self) -> tuple[Group, Group, Group, Group]:
        return self.qkv, self.out, self.gate_up, self.down

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.groups for p in group.parameters]


def layer_of(module: LlamaDecoderLayer, group: Callable[[list[FrozenLinear]], Group]) -> Layer:
    """Raises ValueError where the layer holds what this function does not compute."""
    attention, mlp = module.self_attn, module.mlp
    return Layer(
        module.input_layernorm.weight,
        group([frozen_linear(p) for p in (attention.q_proj, attention.k_proj, attention.v_proj)]),
        group([frozen_linear(attention.o_proj)]),
        module.post_attention_layernorm.weight,
        group([frozen_linear(mlp.gate_proj), frozen_linear(mlp.up_proj)]),
        group([frozen_linear(mlp.down_proj)]),
        float(module.input_layernorm.variance_epsilon),
        attention.config.num_attention_heads,
        attention.config.num_key_value_heads or attention.config.num_attention_heads,
    )


@dataclass(slots=True)
class Step:
    """What all layers of one forward pass share."""

    sequences: Sequences
    cos: Tensor  # (tokens, head size)
    sin: Tensor
    buffer: Tensor  # weights are unpacked into it, a group at a time
    seed: int
    shelf: Shelf | None = None
    keeps: frozenset[int] = field(default_factory=frozenset)  # layers that keep what the others compute again
    training: bool = True  # with dropout

    def call(self, number: int, group: int) -> Call:
        """The use of a layer's group."""
        seed = (self.seed * 1_000_003 + number * 8191 + group * 127) % (2**31 - 2**20)
        return Call(self.buffer, seed, self.training)


@dataclass(slots=True)
class _Kept:
    """What the backward pass of a layer needs beside its input."""

    attended: Tensor  # with the graph of attention alone
    inputs: tuple[Tensor, Tensor, Tensor]  # its queries, keys and values
    middle: Tensor  # residual stream between attention and MLP
    gate_up: Tensor


def ops_for(x: Tensor) -> Any:
    """The module of elementwise operations for a tensor's device."""
    if x.device.type == "cuda":
        from wikillama.model.kernels import ops_triton

        return ops_triton
    return ops_torch


def _until_gate_up(layer: Layer, step: Step, number: int, x: Tensor, graph: bool) -> _Kept:
    ops = ops_for(x)
    normed = ops.rms_norm(x, layer.norm1, layer.eps)
    qkv = layer.qkv.forward(normed, step.call(number, 0))
    del normed
    size = layer.qkv.out_features // (layer.heads + 2 * layer.kv_heads)
    split = qkv.view(len(x), -1, size)
    turned = split[:, : layer.heads + layer.kv_heads]
    ops.rope(turned, step.cos, step.sin, out=turned)
    q, k, v = split.split((layer.heads, layer.kv_heads, layer.kv_heads), 1)
    with torch.set_grad_enabled(graph):
        q, k, v = (part.detach().requires_grad_(graph) for part in (q, k, v))
        attended = attend(q, k, v, step.sequences)
    flat = attended.detach().reshape(len(x), -1)
    middle = layer.out.forward(flat, step.call(number, 1), residual=x)
    normed = ops.rms_norm(middle, layer.norm2, layer.eps)
    gate_up = layer.gate_up.forward(normed, step.call(number, 2))
    return _Kept(attended, (q, k, v), middle, gate_up)


class _DecoderLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Layer, step: Step, number: int, *parameters: Tensor) -> Tensor:
        keep = number in step.keeps
        kept = _until_gate_up(layer, step, number, x, graph=keep)
        h = ops_for(x).swiglu(kept.gate_up)
        y = layer.down.forward(h, step.call(number, 3), residual=kept.middle)
        ctx.layer, ctx.step, ctx.number, ctx.kept = layer, step, number, kept if keep else None
        shelf = None if keep else step.shelf
        ctx.x = x if shelf is None else None
        if shelf is not None:
            shelf.put(number, x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        layer, step, number = ctx.layer, ctx.step, ctx.number
        x = ctx.x if isinstance(ctx.x, Tensor) else step.shelf.take(number)
        kept = ctx.kept or _until_gate_up(layer, step, number, x, graph=True)
        ctx.kept = ctx.x = None
        dx, gradients = _backward(layer, step, number, x, kept, dy.contiguous(), ctx.needs_input_grad[0])
        return dx, None, None, None, *gradients


def _backward(
    layer: Layer, step: Step, number: int, x: Tensor, kept: _Kept, dy: Tensor, needs_dx: bool
) -> tuple[Tensor | None, list[Tensor]]:
    ops = ops_for(x)
    dyb = layer.down.through_b(dy)
    h = layer.down.input_gradient(dy, dyb, step.call(number, 3))  # the gradient of h, for now
    gate_up = kept.gate_up
    ops.swiglu_backward_(h, gate_up)  # h holds h, gate_up its own gradient
    of_down = layer.down.gradients(h, dy, dyb, step.call(number, 3))
    del h
    normed = ops.rms_norm(kept.middle, layer.norm2, layer.eps)
    dyb = layer.gate_up.through_b(gate_up)
    of_gate_up = layer.gate_up.gradients(normed, gate_up, dyb, step.call(number, 2))
    del normed
    dnormed = layer.gate_up.input_gradient(gate_up, dyb, step.call(number, 2))
    kept.gate_up = gate_up = x.new_empty(0)  # lets go of the largest tensor
    dmiddle = ops.rms_norm_backward(dnormed, kept.middle, layer.norm2, layer.eps, dy)
    flat = kept.attended.detach().reshape(len(x), -1)
    dyb = layer.out.through_b(dmiddle)
    of_out = layer.out.gradients(flat, dmiddle, dyb, step.call(number, 1))
    dattended = layer.out.input_gradient(dmiddle, dyb, step.call(number, 1))
    with torch.enable_grad():
        dq, dk, dv = torch.autograd.grad(kept.attended, kept.inputs, dattended.view_as(kept.attended))
    heads = dq.new_empty(len(x), layer.heads + 2 * layer.kv_heads, dq.shape[2])
    ops.rope_backward(dq, dk, dv, step.cos, step.sin, out=heads)
    dqkv = heads.view(len(x), -1)
    dyb = layer.qkv.through_b(dqkv)
    of_qkv = layer.qkv.gradients(ops.rms_norm(x, layer.norm1, layer.eps), dqkv, dyb, step.call(number, 0))
    dx = None
    if needs_dx:
        dnormed = layer.qkv.input_gradient(dqkv, dyb, step.call(number, 0))
        dx = ops.rms_norm_backward(dnormed, x, layer.norm1, layer.eps, dmiddle)
    return dx, [*of_qkv, *of_out, *of_gate_up, *of_down]


def run_layer(x: Tensor, layer: Layer, step: Step, number: int) -> Tensor:
    """The layer's output (tokens, hidden) for the residual stream x (tokens, hidden)."""
    return _DecoderLayer.apply(x, layer, step, number, *layer.parameters)  # type: ignore[no-any-return]
