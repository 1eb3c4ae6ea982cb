"""This project's training step under each set of kernels."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig, LlamaForCausalLM

from train_step_parts.timing import ALPHA_PER_RANK, KEEP, OFFLOAD, Job, Place, autocast, checkpoint, timed
from train_step_parts.work import Work, dialogues, packed, padded, row_of
from wikillama.config.schema import Architecture, ModelConfig, PeftConfig, QuantizationConfig
from wikillama.data.batching import Batch
from wikillama.model.adapters import attach
from wikillama.model.base import Base, load_base
from wikillama.model.loss import causal_lm, reply_loss

Loss = Callable[[PeftModel | LlamaForCausalLM, Batch], tuple[Tensor, Tensor]]
NF4 = QuantizationConfig(type="nf4", double_quant=True)


def load(
    folder: Path, device: torch.device, dtype: torch.dtype, rank: int
) -> tuple[Base, PeftModel | LlamaForCausalLM]:
    """An NF4 base from a folder in Hugging Face layout, and adapters on it, as `train.py` makes them."""
    found = AutoConfig.from_pretrained(str(folder))
    shape = {name: getattr(found, name) for name in Architecture.model_fields if name != "rope_theta"}
    model = ModelConfig(
        name=folder.name, source="hub", path=str(folder), chat_template="chatml",
        architecture=Architecture(**shape, rope_theta=found.rope_parameters["rope_theta"]),
    )  # fmt: skip
    base = load_base(model, NF4, device, dtype, cache_dir="")
    peft = PeftConfig(method="qlora", r=rank, alpha=ALPHA_PER_RANK * rank, dropout=0.0)
    return base, attach(base.model, peft, base.id)


def loss_of(kernels: str, model: PeftModel | LlamaForCausalLM, checkpointing: str, device: torch.device) -> Loss:
    """The loss by one set of kernels: reference, fused or fp8. Raises ValueError where these do not fit the model."""
    if kernels == "reference":
        checkpoint(causal_lm(model), checkpointing)

        def reference(model: PeftModel | LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
            with autocast(device):
                return reply_loss(model, batch)

        return reference
    from wikillama.model.kernels.fused import FusedLoss

    kept = None if checkpointing == KEEP else 0
    return FusedLoss(model, kept=kept, offload=checkpointing == OFFLOAD, fp8=kernels == "fp8")


class Ours:
    """One set of kernels, on packed rows or ragged ones; of those the fused layers leave the padding out."""

    def __init__(self, place: Place, kernels: str) -> None:
        self.place, self.kernels = place, kernels
        _, self.model = load(place.folder, place.device, place.dtype, place.rank)
        self.model.train()

    def turn(self, job: Job) -> dict[str, Any]:
        loss = loss_of(self.kernels, self.model, job.checkpointing, self.place.device)

        def step(batch: Batch) -> Tensor:
            total, targets = loss(self.model, batch)
            return total / targets

        return timed(step, self.model, self._works(job), job, self.place.device)

    def _works(self, job: Job) -> Iterator[Work]:
        for seed in job.seeds:
            made = dialogues(job.setting, seed, self.place.vocabulary, self.place.examples)
            work = padded(made) if row_of(job.setting) is None else packed(made)
            if self.kernels == "reference":
                yield work
            else:
                yield Work(work.batch, work.real, work.real, work.how.replace("padded", "padding left out"))
