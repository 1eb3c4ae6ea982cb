"""Merges an adapter into the base that it was trained on, unquantized: never into packed 4-bit weights."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.errors import InputError
from wikillama.model.loss import causal_lm

MERGED_DTYPE = torch.bfloat16


def merged(model: PeftModel | LlamaForCausalLM) -> LlamaForCausalLM:
    """The base with the adapter's update added to its weights, in the dtype that it is in; the adapter is gone.

    Each weight is rounded once, from the float32 sum where the base is float32. A model without an adapter is given
    back as it is. Raises InputError for weights that the sum makes infinite, and for an adapter on embeddings or output
    head that share their weights, which cannot hold two updates.
    """
    if not isinstance(model, PeftModel):
        return model
    lora = model.peft_config["default"]
    assert isinstance(lora, LoraConfig)  # what `adapters.load` loads
    touched = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if hasattr(module, "base_layer")}
    touched |= set(lora.modules_to_save or ())
    if causal_lm(model).config.tie_word_embeddings and touched & {"embed_tokens", "lm_head"}:
        raise InputError(
            "merge: embeddings and output head of this base are one weight, and the adapter changes one of the two: "
            "it cannot be merged"
        )
    plain: LlamaForCausalLM = model.merge_and_unload()
    broken = [name for name, weight in plain.state_dict().items() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise InputError(f"merge: {broken[0]} is no longer finite; the adapter is broken")
    return plain


def write_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a whole model in Hugging Face layout, bfloat16 safetensors, its tokenizer beside it."""
    model.to(MERGED_DTYPE).save_pretrained(str(folder))  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder)
