"""Greedy generation in batches."""

from peft import PeftModel
from rich.progress import Progress
from torch import Tensor, full, inference_mode, int64, long, tensor, zeros
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerBase

Prompt = list[int]


def generate(
    model: PeftModel | LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[Prompt],
    end_id: int,
    max_new_tokens: int,
    batch_size: int,
    progress: str | None = None,
) -> list[str]:
    """The greedy reply to each prompt (a list of token ids), in order, without control tokens.

    Prompts are batched by length and padded on the left under an attention mask, so that a reply does not depend on
    what else is in its batch beyond floating-point rounding.
    """
    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=end_id, pad_token_id=tokenizer.pad_token_id
    )
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    replies = [""] * len(prompts)
    model.eval()
    with inference_mode(), Progress(transient=True, disable=progress is None) as bar:
        task = bar.add_task(progress or "", total=len(prompts))
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            ids, mask = _left_padded([prompts[i] for i in places], config.pad_token_id)
            produced = model.generate(  # type: ignore[misc]  # transformers types self as a protocol that Llama misses
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
            )
            texts = tokenizer.batch_decode(produced[:, ids.shape[1] :], skip_special_tokens=True)
            for place, text in zip(places, texts, strict=True):
                replies[place] = text.strip()
            bar.advance(task, len(places))
    return replies


def _left_padded(prompts: list[Prompt], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, each (batch, longest) int64."""
    longest = max(map(len, prompts))
    ids, mask = full((len(prompts), longest), pad_id, dtype=int64), zeros((len(prompts), longest), dtype=int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = tensor(prompt, dtype=long)
        mask[row, longest - len(prompt) :] = 1
    return ids, mask
