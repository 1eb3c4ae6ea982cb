"""LoRA adapters from elsewhere, in PEFT's layout: read, and checked against the base that they are to sit on."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from transformers import LlamaForCausalLM

from wikillama.config.schema import ModelConfig, PeftConfig, QuantizationConfig
from wikillama.errors import InputError
from wikillama.model.base import architecture
from wikillama.tracking.registry.export import CONFIG, WEIGHTS

# ways to begin training that change the base, too: such an adapter fits only the base as it was changed
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def read_lora(folder: Path) -> LoraConfig:
    """The settings of the LoRA adapter in a folder. Raises InputError for anything else."""
    where = f"folder={folder}"
    try:
        config: Any = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{where}: no {CONFIG} there; give a folder in PEFT's layout") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: its {CONFIG} cannot be read ({error})") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise InputError(f"{where}: an adapter of type {kind}; only LoRA adapters (peft_type LORA) can be imported")
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise InputError(f"{where}: an adapter for {config['task_type']}; only those for CAUSAL_LM can be imported")
    if str(config.get("init_lora_weights")).startswith(_CHANGES_BASE):
        raise InputError(
            f"{where}: init_lora_weights={config['init_lora_weights']} changed the base that it was trained on; save "
            "it again by PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...) as plain LoRA"
        )
    if not (folder / WEIGHTS).is_file():
        pickled = [each.name for each in folder.glob("adapter_model*.bin")]
        raise InputError(
            f"{where}: {pickled[0]} is pickled, and loading it could run any code; save it as safetensors"
            if pickled
            else f"{where}: no {WEIGHTS} there"
        )
    try:
        lora: LoraConfig = LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{where}: its {CONFIG} is none that PEFT reads ({error})") from error
    return lora


def check_shapes(folder: Path, lora: LoraConfig, model: ModelConfig) -> None:
    """Raises InputError unless every tensor of the adapter has its place on the base, and every place its tensor.

    The base is built as a shape only, without weights.
    """
    found = _shapes(folder)
    where = f"folder={folder} on model={model.name}"
    lora.base_model_name_or_path = None  # PEFT would warn that it is renamed
    with torch.device("meta"):
        try:
            shaped = get_peft_model(LlamaForCausalLM(architecture(model, None)), lora)
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise InputError(f"{where}: cannot be put onto this base ({error})") from error
    needed, allowed = (
        {name: tuple(t.shape) for name, t in get_peft_model_state_dict(shaped, save_embedding_layers=also).items()}
        for also in (False, True)
    )
    hint = "choose the model= that it was trained on"
    for name, shape in found.items():
        place = needed.get(name, allowed.get(name))
        if place is None:
            raise InputError(f"{where}: the base has no place for {name}; {hint}")
        if place != shape:
            raise InputError(f"{where}: {name} is {list(shape)}, but the base needs {list(place)}; {hint}")
    missing = needed.keys() - found.keys()
    if missing:
        raise InputError(f"{where}: {len(missing)} tensors are missing, such as {min(missing)}; {hint}")


def peft_of(folder: Path, lora: LoraConfig, quantization: QuantizationConfig) -> PeftConfig:
    """The adapter's settings as this project writes them; targets are the modules that have tensors.

    Raises InputError for settings that cannot be.
    """
    modules = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in _shapes(folder) if ".lora_" in name}
    try:
        return PeftConfig(
            method="qlora" if quantization.four_bit else "lora",
            r=lora.r,
            alpha=lora.lora_alpha,
            dropout=lora.lora_dropout,
            target_modules=sorted(modules),
            use_rslora=bool(lora.use_rslora),
            use_dora=bool(lora.use_dora),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc'][0]}={each['input']!r}" for each in error.errors())
        raise InputError(f"folder={folder}: its {CONFIG} holds what cannot be ({wrong})") from error


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"folder={folder}: {WEIGHTS} cannot be read ({error})") from error
