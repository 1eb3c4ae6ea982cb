"""Which code computes the training step on the device at hand, and why."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM

from wikillama.data.batching import Batch
from wikillama.errors import InputError
from wikillama.model.loss import causal_lm, reply_loss

Loss = Callable[[PeftModel | LlamaForCausalLM, Batch], tuple[Tensor, Tensor]]
Name = Literal["auto", "reference", "fused", "fp8"]


@dataclass(frozen=True, slots=True)
class Recomputation:
    """What a step keeps for its backward pass."""

    kept: int | None = None  # layers that keep their activations, the last ones; null: all
    offload: bool = False  # inputs of the other layers wait in the host's memory


@dataclass(frozen=True, slots=True)
class Kernels:
    """The loss that training minimizes, the name of its code, and a remark for people, if there is something to say."""

    loss: Loss
    name: Literal["reference", "fused", "fp8"]
    remark: str | None = None


def choose_kernels(name: Name, model: PeftModel | LlamaForCausalLM, recomputation: Recomputation) -> Kernels:
    """The code that `name` asks for; `auto` is `fused` where it runs and `reference` elsewhere.

    Raises InputError where `fp8` cannot run here. `fused` that cannot run falls back to `reference`, and says so.
    """
    if name == "reference":
        return _reference(model, recomputation, None)
    device = causal_lm(model).lm_head.weight.device
    problem = _problem(model, device)
    if name == "auto" and device.type != "cuda":
        return _reference(model, recomputation, None)
    if problem is None:
        from wikillama.model.kernels.fused import FusedLoss

        try:
            if name == "fp8":
                _check_fp8(device)
            loss = FusedLoss(model, recomputation.kept, recomputation.offload, fp8=name == "fp8")
            return Kernels(loss, "fp8" if name == "fp8" else "fused")
        except ValueError as error:
            problem = str(error)
    if name == "fp8":
        raise InputError(f"kernels=fp8 does not run here ({problem}): use kernels=auto")
    return _reference(model, recomputation, f"kernels: reference, since fused does not compute {problem}")


def _reference(model: PeftModel | LlamaForCausalLM, recomputation: Recomputation, remark: str | None) -> Kernels:
    if recomputation.kept is not None:
        causal_lm(model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Kernels(reply_loss, "reference", remark)


def _problem(model: PeftModel | LlamaForCausalLM, device: torch.device) -> str | None:
    """Why the fused step cannot compute a model at all."""
    if not isinstance(model, PeftModel):
        return "training of all weights"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "without Triton, which is not installed"
    if device.type == "cuda" and causal_lm(model).lm_head.weight.dtype != torch.bfloat16:
        return "in another dtype than bfloat16"
    if causal_lm(model).config.hidden_act != "silu":
        return f"the activation {causal_lm(model).config.hidden_act}"
    return None


def _check_fp8(device: torch.device) -> None:
    from wikillama.model.kernels.fp8 import has_fp8

    if not has_fp8(device):
        raise ValueError("no 8-bit floating point on this device")
