"""Adapters from elsewhere: every kind of LoRA that PEFT saves is taken, and everything else is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from wikillama.config.schema import QuantizationConfig
from wikillama.errors import InputError
from wikillama.model import adapters
from wikillama.model.base import architecture
from wikillama.tracking.registry.foreign import check_shapes, peft_of, read_lora

WEIGHTS = "adapter_model.safetensors"
LORAS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "v_proj"]},
    "regular expression": {"target_modules": r".*\.1\.self_attn\.(q|v)_proj"},
    "all linear": {"target_modules": "all-linear", "use_rslora": True},
    "patterns": {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}},
    "one layer": {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "output head whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "DoRA": {"target_modules": ["down_proj"], "use_dora": True},
    "biases": {"target_modules": ["q_proj"], "lora_bias": True},
}


@pytest.fixture(scope="module")
def tiny(compose: Callable[..., Any]) -> Any:
    return compose("model=tiny", "data=wow_mini").model


@pytest.fixture
def saved(tiny: Any, tmp_path: Path) -> Callable[[Any], Path]:
    """`saved(LoraConfig(...))`: an adapter as PEFT itself saves it, weights drawn at random."""

    def save(config: Any) -> Path:
        torch.manual_seed(0)
        model = get_peft_model(LlamaForCausalLM(architecture(tiny, None)), config)
        for parameter in adapters.trainable(model).values():
            parameter.data += 0.05 * torch.randn_like(parameter)
        model.save_pretrained(str(tmp_path / "adapter"))
        return tmp_path / "adapter"

    return save


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", LORAS)
def test_what_peft_saves_is_taken_and_loads(tiny: Any, saved: Callable[[Any], Path], kind: str) -> None:
    folder = saved(LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, **LORAS[kind]))
    lora = read_lora(folder)
    check_shapes(folder, lora, tiny)
    found = peft_of(folder, lora, QuantizationConfig(type="nf4"))
    assert (found.method, found.r, found.alpha) == ("qlora", 4, 8)
    modules = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in load_file(folder / WEIGHTS) if ".lora_" in name}
    assert set(found.target_modules) == modules
    torch.manual_seed(0)  # the base that it was put on
    loaded = adapters.load(LlamaForCausalLM(architecture(tiny, None)), folder)
    assert isinstance(loaded, torch.nn.Module)


def test_an_unquantized_base_makes_it_plain_lora(saved: Callable[[Any], Path]) -> None:
    folder = saved(LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], use_dora=True))
    found = peft_of(folder, read_lora(folder), QuantizationConfig(type="none"))
    assert (found.method, found.use_dora, found.target_modules) == ("lora", True, ["q_proj"])


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "PROMPT_TUNING"),
        (IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[]), "IA3"),
    ],
)
def test_other_adapters_are_refused(saved: Callable[[Any], Path], config: Any, kind: str) -> None:
    with pytest.raises(InputError, match=f"an adapter of type {kind}; only LoRA"):
        read_lora(saved(config))


@pytest.fixture
def plain(saved: Callable[[Any], Path]) -> Path:
    return saved(LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]))


def change(folder: Path, **values: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_pickled_weights_are_refused(plain: Path) -> None:
    (plain / WEIGHTS).rename(plain / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter_model\.bin is pickled, and loading it could run any code"):
        read_lora(plain)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"task_type": "SEQ_CLS"}, "an adapter for SEQ_CLS"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights=pissa_niter_4 changed the base"),
        ({"peft_type": None}, "an adapter of type None"),
        ({"r": "many", "lora_alpha": None, "peft_type": "LORA", "target_modules": 3}, "folder="),
    ],
)
def test_settings_that_do_not_go_are_one_line(tiny: Any, plain: Path, values: dict[str, Any], said: str) -> None:
    change(plain, **values)
    with pytest.raises(InputError, match=said):
        check_shapes(plain, read_lora(plain), tiny)


def test_settings_out_of_range_are_one_line(plain: Path) -> None:
    change(plain, lora_dropout=1.5)
    with pytest.raises(InputError, match=r"holds what cannot be \(dropout=1\.5\)"):
        peft_of(plain, read_lora(plain), QuantizationConfig(type="none"))


def test_files_that_are_missing_or_broken_are_one_line(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter_config\.json there"):
        read_lora(tmp_path)
    (plain / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"no adapter_model\.safetensors there"):
        read_lora(plain)
    (plain / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_lora(plain)
    (plain / "adapter_config.json").write_text("[]")
    with pytest.raises(InputError, match="an adapter of type None"):
        read_lora(plain)


def test_another_base_is_refused_before_anything_is_loaded(compose: Callable[..., Any], plain: Path) -> None:
    lora = read_lora(plain)
    other = compose("model=smollm2_135m", "data=wow_mini").model
    with pytest.raises(InputError, match=r"q_proj\.lora_A\.weight is \[4, 64\], but the base needs \[4, 576\]"):
        check_shapes(plain, lora, other)


def test_tensors_too_many_and_too_few_are_refused(tiny: Any, plain: Path) -> None:
    whole = load_file(plain / WEIGHTS)
    lora = read_lora(plain)
    save_file({**whole, "base_model.model.model.layers.7.q_proj.lora_A.weight": torch.zeros(4, 64)}, plain / WEIGHTS)
    with pytest.raises(InputError, match=r"the base has no place for .*layers\.7"):
        check_shapes(plain, lora, tiny)
    save_file(dict(list(whole.items())[:-1]), plain / WEIGHTS)
    with pytest.raises(InputError, match="1 tensors are missing"):
        check_shapes(plain, lora, tiny)
    (plain / WEIGHTS).write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        check_shapes(plain, lora, tiny)
