"""Merging adapters into their bases: exact sums, rounded once, and what cannot be merged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from wikillama.errors import InputError
from wikillama.model.merge import merged, write_model

IDS = torch.arange(96).reshape(2, 48)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


@pytest.mark.parametrize("peft", ["lora", "dora", "rslora"])
def test_it_says_the_same_as_base_and_adapter(trained: Callable[..., Any], peft: str) -> None:
    model = trained(f"peft={peft}")
    before = logits(model)
    plain = merged(model)
    assert isinstance(plain, LlamaForCausalLM)
    assert not [name for name, _ in plain.named_parameters() if "lora" in name]
    assert torch.allclose(logits(plain), before, atol=1e-5)


def test_what_is_written_is_rounded_once(trained: Callable[..., Any], byte_tokenizer: Any, tmp_path: Path) -> None:
    plain = merged(trained("peft=lora"))
    exact = {name: weight.clone() for name, weight in plain.state_dict().items()}
    write_model(plain, byte_tokenizer, tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).state_dict()
    assert again.keys() == exact.keys()
    for name, weight in again.items():
        assert torch.equal(weight, exact[name].bfloat16()), name
    assert (tmp_path / "tokenizer.json").is_file()


def test_a_whole_model_is_what_it_was(trained: Callable[..., Any]) -> None:
    model = trained("peft=none")
    assert merged(model) is model


def test_broken_adapters_are_refused(trained: Callable[..., Any]) -> None:
    model = trained("peft=lora")
    model.base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"].weight.data[0, 0] = torch.inf
    with pytest.raises(InputError, match=r"layers\.0\.self_attn\.q_proj\.weight is no longer finite"):
        merged(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "given", [{"target_modules": ["lm_head"]}, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}]
)
def test_shared_embeddings_cannot_hold_two_updates(tiny: Callable[..., Any], given: dict[str, Any]) -> None:
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, **given)
    tied = get_peft_model(tiny("peft=lora", "model.architecture.tie_word_embeddings=true").model, lora)
    with pytest.raises(InputError, match="are one weight, and the adapter changes one of the two"):
        merged(tied)
    apart = merged(get_peft_model(tiny("peft=lora").model, lora))
    assert isinstance(apart, LlamaForCausalLM)
