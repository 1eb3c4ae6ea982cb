"""The loss of replies, computed for reply tokens only."""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM

from wikillama.data.batching import Batch, sequence_numbers
from wikillama.data.encode import IGNORED


def causal_lm(model: PeftModel | LlamaForCausalLM) -> LlamaForCausalLM:
    """The Llama inside: PEFT puts adapters into its layers, so that this runs them too."""
    return model.get_base_model() if isinstance(model, PeftModel) else model  # type: ignore[return-value]


def block_causal_mask(batch: Batch) -> Tensor:
    """Which tokens of packed rows may see which: (rows, 1, length, length) bool, as torch's attention takes it."""
    numbers = sequence_numbers(batch)
    same = numbers[:, :, None] == numbers[:, None, :]
    return same.tril()[:, None]


def reply_loss(model: PeftModel | LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sum of the cross entropy over the batch's target tokens (float32 scalar), and their number (int64 scalar)."""
    logits, targets, rows = _target_logits(model, batch)
    return F.cross_entropy(logits, targets, reduction="sum"), torch.sum(rows)


def reply_losses(model: PeftModel | LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """The same for each row: summed cross entropy (rows,) float64, number of target tokens (rows,) int64."""
    logits, targets, rows = _target_logits(model, batch)
    losses = torch.zeros(rows.shape, dtype=torch.float64, device=rows.device)
    losses[rows] = F.cross_entropy(logits, targets, reduction="none").double()
    return losses.sum(1), rows.sum(1)


def _target_logits(model: PeftModel | LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (targets, vocabulary) float32 and ids (targets,) of what is to be predicted, and where (rows, length - 1).

    The output head, a good part of a small model's work, sees only the rows that have a target; TRL found the same
    saving (huggingface/trl, docs/source/reducing_memory_usage.md).

    Of packed rows (a batch with `cu_seq_lens`) each example sees itself alone.
    """
    llama = causal_lm(model)
    packed = "cu_seq_lens" in batch
    hidden = llama.model(
        input_ids=batch["input_ids"],
        attention_mask=block_causal_mask(batch) if packed else batch["attention_mask"],
        position_ids=batch["position_ids"] if packed else None,
        use_cache=False,
    )[0]
    targets = batch["labels"][:, 1:]
    rows = targets != IGNORED
    return llama.lm_head(hidden[:, :-1][rows]).float(), targets[rows], rows
