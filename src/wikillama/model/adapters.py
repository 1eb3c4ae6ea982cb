"""LoRA adapters: wrapping a base, counting, saving and loading what was trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM

from wikillama.config.schema import ModelConfig, PeftConfig
from wikillama.errors import InputError
from wikillama.model.base import architecture

ADAPTER_DTYPE = torch.bfloat16  # of saved adapters; in memory they are float32 while they train
_ADAPTER = "adapter_model.safetensors"  # PEFT's own name
_CONFIG = "adapter_config.json"
_ALL_WEIGHTS = "model.safetensors"
_LONGEST_REASON = 300  # characters


def attach(model: LlamaForCausalLM, peft: PeftConfig, base_id: str) -> PeftModel | LlamaForCausalLM:
    """Make trainable what `peft` asks for: fresh float32 LoRA weights on a frozen base, or all weights.

    `peft.prepare_model_for_kbit_training` is left out on purpose: it casts embeddings and output head to float32,
    which costs memory and time and gains nothing here. Raises InputError for target modules that do not exist.
    """
    if peft.method == "none":
        model.requires_grad_(True)
        return model
    try:
        wrapped = get_peft_model(model, lora_config(peft))
    except ValueError as error:
        raise InputError(f"peft.target_modules={peft.target_modules}: {error}") from error
    wrapped.peft_config["default"].base_model_name_or_path = base_id
    return wrapped  # type: ignore[return-value]


def lora_config(peft: PeftConfig) -> LoraConfig:
    targets = peft.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=peft.r,
        lora_alpha=peft.alpha,  # type: ignore[arg-type]
        lora_dropout=peft.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=peft.use_rslora,
        use_dora=peft.use_dora,
    )


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def count_trainable(model: ModelConfig, peft: PeftConfig) -> int:
    """How many parameters a job would train, by building its shape on the meta device: no weights, no memory."""
    with torch.device("meta"):
        shaped = attach(LlamaForCausalLM(architecture(model, None)), peft, base_id="")
    return sum(p.numel() for p in trainable(shaped).values())


def megabytes(parameters: int) -> float:
    """The size of a saved adapter in MB of 10^6 bytes, without the header."""
    return parameters * ADAPTER_DTYPE.itemsize / 1e6


def save(model: PeftModel | LlamaForCausalLM, folder: Path) -> Path:
    """Write what was trained to `folder` as bfloat16 safetensors, adapters in PEFT's layout.

    The weights in memory are rounded to what was written, so that what is evaluated next is what was saved.
    """
    for parameter in trainable(model).values():
        parameter.data = parameter.data.to(ADAPTER_DTYPE).to(parameter.dtype)
    if not isinstance(model, PeftModel):
        folder.mkdir(parents=True, exist_ok=True)
        tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
        tensors = {n: t.to(ADAPTER_DTYPE).contiguous() for n, t in model.state_dict().items() if n not in tied}
        save_file(tensors, folder / _ALL_WEIGHTS, metadata={"format": "pt"})
        return folder
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's form of a card, not filled in, with a path of this machine
    file = folder / _ADAPTER
    rounded = {name: tensor.to(ADAPTER_DTYPE) for name, tensor in load_file(file).items()}
    save_file(rounded, file, metadata={"format": "pt"})
    return folder


def load(model: PeftModel | LlamaForCausalLM, folder: Path, name: str = "default") -> PeftModel | LlamaForCausalLM:
    """Put what `save` wrote onto a base, or beside the adapters that it has, under a name of its own.

    Raises InputError for files that are missing, broken or of another shape.
    """
    try:
        if (folder / _ALL_WEIGHTS).is_file():
            model.load_state_dict(load_file(folder / _ALL_WEIGHTS), strict=not model.config.tie_word_embeddings)
            return model
        _check_config(folder / _CONFIG)
        if isinstance(model, PeftModel):
            wrapped = model
            wrapped.load_adapter(str(folder), adapter_name=name, torch_device=str(model.device))
        else:
            wrapped = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        # PEFT only warns of tensors that are missing, and does not mind those that it has no place for
        expected = get_peft_model_state_dict(wrapped, adapter_name=name, save_embedding_layers=False)
        differing = expected.keys() ^ load_file(folder / _ADAPTER).keys()
        if differing - expected.keys():  # PEFT writes a copy of the base's embeddings beside adapters that target them
            copies = get_peft_model_state_dict(wrapped, adapter_name=name, save_embedding_layers=True)
            differing -= copies.keys() - expected.keys()
        if differing:
            raise ValueError(f"{len(differing)} tensors are missing or have no place, such as {min(differing)}")
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{folder}: cannot be put onto this base model ({_reason(error)})") from error
    wrapped.requires_grad_(False)
    return wrapped


@contextmanager
def speaking_as(model: nn.Module, name: str | None) -> Iterator[None]:
    """While the context lasts, the adapter `name` of a model is at work, or with None its base alone."""
    if not isinstance(model, PeftModel):
        yield
    elif name is None:
        with model.disable_adapter():
            yield
    else:
        if model.active_adapter != name:
            model.set_adapter(name)
        yield


def _check_config(file: Path) -> None:
    """Raises InputError for a configuration that PEFT cannot read; it would look for a missing one on the hub."""
    if not file.is_file():
        raise InputError(f"{file}: missing; fetch the adapter again")
    try:
        LoraConfig.from_pretrained(str(file.parent))
    except Exception as error:  # whatever its fields raise
        raise InputError(f"{file}: broken ({_reason(error)}); fetch the adapter again") from error


def _reason(error: Exception) -> str:
    """The beginning of what torch and PEFT say at length: a line for each tensor."""
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
