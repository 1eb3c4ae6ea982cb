"""Quantized storage of a base by bitsandbytes, and whether it works here.

bitsandbytes is imported where it is needed only: what is not quantized runs without it.
"""

import importlib
import sys
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from wikillama.config.schema import QuantizationConfig
from wikillama.errors import InputError

if TYPE_CHECKING:
    import bitsandbytes as bnb

_WIDTH = 64  # of the layer that is tried: one block of 4-bit weights


def bitsandbytes_config(quantization: QuantizationConfig, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if quantization.type == "none":
        return None
    if quantization.type == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.type,
        bnb_4bit_use_double_quant=quantization.double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def check_backend(quantization: QuantizationConfig, device: torch.device) -> None:
    """Raises InputError where bitsandbytes cannot be imported, or cannot compute with such weights on this device.

    It is tried on one small layer, since what bitsandbytes supports depends on its build, torch and the device.
    """
    if quantization.type == "none":
        return
    try:
        library = importlib.import_module("bitsandbytes")
    except Exception as error:  # a library that does not load raises what it likes
        raise InputError(
            f"quantization={quantization.type} needs bitsandbytes, which cannot be imported here ({_line(error)}): "
            "install it, or choose quantization=none"
        ) from error
    try:
        if quantization.type == "int8":
            layer = library.nn.Linear8bitLt(_WIDTH, _WIDTH, bias=False, has_fp16_weights=False)
        else:
            layer = library.nn.Linear4bit(_WIDTH, _WIDTH, bias=False, quant_type=quantization.type)
        with torch.inference_mode():
            layer.to(device)(torch.ones(1, _WIDTH, device=device))
    except Exception as error:
        raise InputError(
            f"quantization={quantization.type}: bitsandbytes {library.__version__} does not support it on {device} "
            f"({_line(error)}): use another device, or quantization=none"
        ) from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def is_four_bit(module: nn.Module) -> "TypeGuard[bnb.nn.Linear4bit]":
    """Whether a layer's weights are stored in 4 bit by bitsandbytes."""
    loaded = sys.modules.get("bitsandbytes")  # where it is not, there can be no such layer
    return loaded is not None and isinstance(module, loaded.nn.Linear4bit)


def keep_layout(model: nn.Module) -> None:
    """Keep bitsandbytes from laying 4-bit weights out anew for inference on CPUs with AVX-512 BF16.

    It does so at the first product in eval mode, for good, and the kernel for that layout has no backward (0.50.2:
    `Linear4bit.forward`, `matmul_4bit`): training after a validation would give lower layers no gradient.
    """
    for module in model.modules():
        if is_four_bit(module):
            module.support_avx512bf16_for_cpu = False
