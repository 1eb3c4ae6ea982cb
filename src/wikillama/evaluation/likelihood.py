"""How likely a model finds the human replies."""

import math
from dataclasses import dataclass

import torch
from peft import PeftModel
from rich.progress import track
from torch.utils.data import DataLoader
from transformers import LlamaForCausalLM

from wikillama.data.batching import Collator
from wikillama.data.encode import Encoded
from wikillama.model.loss import reply_loss


@dataclass(frozen=True)
class Likelihood:
    """Over all reply tokens of a split, end tokens included. `loss` is in nats a token."""

    loss: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp of the corpus mean, not a mean of examples' perplexities; comparable under one tokenizer only."""
        return math.exp(self.loss)


def likelihood(
    model: PeftModel | LlamaForCausalLM,
    encoded: list[Encoded],
    pad_id: int,
    batch_size: int,
    progress: str | None = None,
) -> Likelihood:
    model.eval()
    by_length = sorted(encoded, key=lambda e: -len(e.input_ids))
    loader: DataLoader[Encoded] = DataLoader(by_length, batch_size, collate_fn=Collator(pad_id))  # type: ignore[arg-type]
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for batch in track(loader, description=progress or "", transient=True, disable=progress is None):
            loss, count = reply_loss(model, {name: tensor.to(model.device) for name, tensor in batch.items()})
            total, tokens = total + float(loss), tokens + int(count)
    return Likelihood(total / tokens, tokens)
