"""Greedy generation in batches."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from peft import PeftModel
from rich.progress import Progress
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.data.batching import worked
from wikillama.model.loss import causal_lm

Prompt = list[int]
BATCH_TOKENS = 16_384  # keys and values of a 7B model for so many tokens take 8.6 GB in 16 bit
_SHRINK = 0.75  # a batch is made smaller when no more than this share of it still speaks


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
    """The greedy reply to each prompt (a list of token ids), in order; the end token counts among its tokens.

    Prompts are batched by length, at most `batch_size` and `batch_tokens` (replies included), fewer where the device's
    memory does not suffice (InputError where it does not for one). A reply does not depend
    on what else is in its batch beyond floating-point rounding. `on_batch` is given the places and replies of a batch
    as soon as it is done.
    """
    replies: list[Generated | None] = [None] * len(prompts)
    model.eval()

    def replied(places: list[int]) -> list[Generated]:
        began = time.perf_counter()
        produced = _greedy(causal_lm(model), [prompts[i] for i in places], end_id, max_new_tokens)
        share = (time.perf_counter() - began) / len(places)
        texts = tokenizer.batch_decode(produced, skip_special_tokens=True)
        return [Generated(text.strip(), len(ids), share) for text, ids in zip(texts, produced, strict=True)]

    with torch.inference_mode(), Progress(transient=True, disable=progress is None) as bar:
        task = bar.add_task(progress or "", total=len(prompts))
        for places, made in worked([len(p) + max_new_tokens for p in prompts], batch_size, batch_tokens, replied):
            for place, reply in zip(places, made, strict=True):
                replies[place] = reply
            if on_batch is not None:
                on_batch(places, made)
            bar.advance(task, len(places))
    return [reply for reply in replies if reply is not None]


def _greedy(model: LlamaForCausalLM, prompts: list[Prompt], end_id: int, max_new_tokens: int) -> list[list[int]]:
    """The new tokens of each prompt, up to and with the end token.

    What all prompts begin with, a system prompt above all, is computed once, and rows that are done leave the batch:
    of 200 short questions, `transformers.generate` spends two thirds of its products on the one or the other.
    """
    cache, shared = _shared_start(model, prompts)
    ids, mask = _left_padded([prompt[shared:] for prompt in prompts], shared, model.device)
    positions = (mask.cumsum(1) - 1)[:, shared:].clamp(min=0)
    produced: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # which prompt each row of the batch belongs to
    for _ in range(max_new_tokens):
        tokens = last_logits(model, ids, mask, positions, cache).argmax(-1)
        speaking = []
        for number, token in enumerate(tokens.tolist()):
            reply = produced[rows[number]]
            if not reply or reply[-1] != end_id:
                reply.append(token)
                if token != end_id:
                    speaking.append(number)
        if not speaking:
            break
        if len(speaking) <= _SHRINK * len(rows):
            kept = torch.tensor(speaking, device=mask.device)
            cache.batch_select_indices(kept)
            mask, tokens, positions = mask[kept], tokens[kept], positions[kept]
            rows = [rows[number] for number in speaking]
        mask = torch.cat((mask, mask.new_ones(len(rows), 1)), 1)
        ids, positions = tokens[:, None], positions[:, -1:] + 1
    return produced


def last_logits(model: LlamaForCausalLM, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
    """Logits (batch, vocabulary) behind the last of the new token ids (batch, tokens); the cache grows by those.

    The head sees a matrix. Given `logits_to_keep=1`, it would see a slice of three dimensions, whose rows torch
    multiplies one by one on a CPU: measured in bfloat16, 600 ms instead of 7 for 8 rows of SmolLM2's vocabulary.
    """
    found = model.model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache)
    logits: Tensor = model.lm_head(found.last_hidden_state[:, -1])
    return logits


def _shared_start(model: LlamaForCausalLM, prompts: list[Prompt]) -> tuple[DynamicCache, int]:
    """Keys and values of what all prompts begin with, for each of them, and its length; at least one token is left."""
    longest = min(map(len, prompts)) - 1
    shared = next((i for i in range(longest) if len({prompt[i] for prompt in prompts}) > 1), longest)
    cache = DynamicCache(config=model.config)
    if shared and len(prompts) > 1:
        model.model(input_ids=torch.tensor([prompts[0][:shared]], device=model.device), past_key_values=cache)
        cache.batch_repeat_interleave(len(prompts))
        return cache, shared
    return cache, 0


def _left_padded(prompts: list[Prompt], shared: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (batch, longest), and the mask over what is shared and them (batch, shared + longest), both int64."""
    longest = max(map(len, prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.int64)  # what stands under a mask of 0 is never looked at
    mask = torch.ones((len(prompts), shared + longest), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, shared : shared + longest - len(prompt)] = 0
    return ids.to(device), mask.to(device)
