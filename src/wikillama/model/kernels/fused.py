"""The fused step: the loss of replies over a Llama whose layers are `kernels.layer`."""

from collections.abc import Callable

import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM

from wikillama.data.batching import Batch
from wikillama.data.encode import IGNORED
from wikillama.model.kernels.attention import Sequences
from wikillama.model.kernels.head import head_loss
from wikillama.model.kernels.layer import Layer, Step, layer_of, run_layer
from wikillama.model.kernels.offload import Shelf
from wikillama.model.kernels.weights import AddedGroup, FrozenLinear, Group, refresh
from wikillama.model.loss import causal_lm


class FusedLoss:
    """`reply_loss` by fused layers: the same arguments, the same result.

    Padding is left out: tokens of all rows stand one behind the other, and attention sees the bounds of examples.
    `kept` layers, the last ones, keep their activations; the others are computed again in the backward pass, from
    inputs that lie on the device or, where `offload` says so, in the host's memory. Raises ValueError, with the reason,
    for a model that the fused layers do not compute.
    """

    def __init__(
        self, model: PeftModel | LlamaForCausalLM, kept: int | None = None, offload: bool = False, fp8: bool = False
    ) -> None:
        llama = causal_lm(model)
        if llama.lm_head.weight.requires_grad or llama.lm_head.bias is not None:
            raise ValueError("a head that is trained or has a bias")
        group = _grouping(llama.lm_head.weight, fp8)
        self.layers: list[Layer] = [layer_of(m, group) for m in llama.model.layers]  # type: ignore[arg-type]
        self.llama, device = llama, llama.lm_head.weight.device
        count = len(self.layers)
        self.keeps = frozenset(range(count - (count if kept is None else kept), count))
        self.shelf = Shelf(device) if offload and device.type == "cuda" else None
        largest = max(group.numel for layer in self.layers for group in layer.groups)
        self.buffer = torch.empty(largest // 2 if fp8 else largest, dtype=llama.lm_head.weight.dtype, device=device)

    def __call__(self, model: PeftModel | LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of the cross entropy over the batch's target tokens, and their number, as `loss.reply_loss`."""
        ids, positions, targets, rows, sequences = _flat(batch)
        llama = self.llama
        x = llama.model.embed_tokens(ids)
        cos, sin = llama.model.rotary_emb(x[None], positions[None])
        refresh(group for layer in self.layers for group in layer.groups)
        step = Step(
            sequences, cos[0], sin[0], self.buffer, torch.initial_seed() % 2**20, self.shelf,
            self.keeps if torch.is_grad_enabled() else frozenset(), llama.training,
        )  # fmt: skip
        if not torch.is_grad_enabled():
            step.shelf = None
        for number, layer in enumerate(self.layers):
            x = run_layer(x, layer, step, number)
        loss = head_loss(x, rows, targets, llama)
        return loss, torch.full((), len(targets), device=targets.device)


def _grouping(head: Tensor, fp8: bool) -> Callable[[list[FrozenLinear]], Group]:
    def group(parts: list[FrozenLinear]) -> Group:
        if fp8:
            from wikillama.model.kernels.fp8 import Fp8Group

            return Fp8Group(parts, head.dtype)
        dropped = any(part.dropout for part in parts)
        return (AddedGroup if dropped else Group)(parts, head.dtype)

    return group


def _flat(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Sequences]:
    """Of real tokens alone: ids and positions (tokens,); targets and where they are predicted; the sequences.

    All that waits for the device is here, at the start, so that the host then runs ahead of it.
    """
    mask = batch["attention_mask"].bool()
    labels = torch.full_like(batch["labels"], IGNORED)
    labels[:, :-1] = batch["labels"][:, 1:]
    if "position_ids" in batch:
        positions = batch["position_ids"]
    else:
        positions = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    positions = positions[mask]
    starts = (positions == 0).nonzero().flatten()
    bounds = torch.cat((starts, starts.new_tensor([len(positions)]))).to(torch.int32)
    longest = int(bounds.diff().max())
    labels = labels[mask]
    rows = (labels != IGNORED).nonzero().flatten()
    return batch["input_ids"][mask], positions, labels[rows], rows, Sequences(bounds, longest)
