"""Greedy generation in batches."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from peft import PeftModel
from rich.progress import Progress
from torch import Tensor, full, inference_mode, int64, long, tensor, zeros
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.data.batching import batches_within

Prompt = list[int]
BATCH_TOKENS = 16_384  # keys and values of a 7B model for so many tokens take 8.6 GB in 16 bit


@dataclass(frozen=True, slots=True)
class Generated:
    """A reply without control tokens, the number of tokens that it took, and its share of the batch's seconds."""

    text: str
    tokens: int
    seconds: float


def generate(
    model: PeftModel | LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[Prompt],
    end_id: int,
    max_new_tokens: int,
    batch_size: int,
    batch_tokens: int = BATCH_TOKENS,
    progress: str | None = None,
    on_batch: Callable[[list[int], list[Generated]], None] | None = None,
) -> list[Generated]:
    """The greedy reply to each prompt (a list of token ids), in order.

    Prompts are batched by length, at most `batch_size` and `batch_tokens` (replies included), and padded on the
    left under an attention mask, so that a reply does not depend on what else is in its batch beyond floating-point
    rounding. `on_batch` is given the places and replies of a batch as soon as it is done.
    """
    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=end_id, pad_token_id=tokenizer.pad_token_id
    )
    replies: list[Generated | None] = [None] * len(prompts)
    model.eval()
    with inference_mode(), Progress(transient=True, disable=progress is None) as bar:
        task = bar.add_task(progress or "", total=len(prompts))
        for places in batches_within([len(p) + max_new_tokens for p in prompts], batch_size, batch_tokens):
            ids, mask = _left_padded([prompts[i] for i in places], config.pad_token_id)
            began = time.perf_counter()
            produced = model.generate(  # type: ignore[misc]  # transformers types self as a protocol that Llama misses
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
            )[:, ids.shape[1] :]
            texts = tokenizer.batch_decode(produced, skip_special_tokens=True)
            counts = (produced != config.pad_token_id).sum(1).tolist()
            share = (time.perf_counter() - began) / len(places)
            made = [Generated(text.strip(), n, share) for text, n in zip(texts, counts, strict=True)]
            for place, reply in zip(places, made, strict=True):
                replies[place] = reply
            if on_batch is not None:
                on_batch(places, made)
            bar.advance(task, len(places))
    return [reply for reply in replies if reply is not None]


def _left_padded(prompts: list[Prompt], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, each (batch, longest) int64."""
    longest = max(map(len, prompts))
    ids, mask = full((len(prompts), longest), pad_id, dtype=int64), zeros((len(prompts), longest), dtype=int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = tensor(prompt, dtype=long)
        mask[row, longest - len(prompt) :] = 1
    return ids, mask
