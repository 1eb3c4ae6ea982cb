"""Whether quantized storage works here: tried out, and refused in one line where it does not."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wikillama.config.schema import QuantizationConfig
from wikillama.errors import InputError
from wikillama.model.quantization import bitsandbytes_config, check_backend

CPU = torch.device("cpu")
TYPES = ("nf4", "fp4", "int8")

# a base that is not quantized, unpacked and asked, where bitsandbytes cannot be imported
WITHOUT = """
import torch
from wikillama.config.schema import QuantizationConfig
from wikillama.model.dense import dense_weights
from wikillama.model.quantization import check_backend
check_backend(QuantizationConfig(type="none"), torch.device("cpu"))
layer = torch.nn.Sequential(torch.nn.Linear(2, 2))
with dense_weights(layer):
    layer(torch.ones(1, 2))
check_backend(QuantizationConfig(type="nf4"), torch.device("cpu"))
"""


@pytest.mark.parametrize("kind", TYPES)
def test_it_works_here(kind: str) -> None:
    check_backend(QuantizationConfig(type=kind), CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TYPES)
def test_a_device_that_bitsandbytes_does_not_know_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"quantization={kind}: bitsandbytes .* does not support it on meta") as caught:
        check_backend(QuantizationConfig(type=kind), torch.device("meta"))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 500
    check_backend(QuantizationConfig(type="none"), torch.device("meta"))


def test_only_what_is_quantized_needs_bitsandbytes(tmp_path: Path) -> None:
    """In a process of its own, where a library that bitsandbytes needs is not there."""
    (tmp_path / "bitsandbytes.py").write_text('raise OSError("libcudart.so: cannot open\\nshared object file")')
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        "wikillama.errors.InputError: quantization=nf4 needs bitsandbytes, which cannot be imported here "
        "(libcudart.so: cannot open): install it, or choose quantization=none"
    )


def test_settings_of_bitsandbytes() -> None:
    assert bitsandbytes_config(QuantizationConfig(type="none"), torch.float32) is None
    int8 = bitsandbytes_config(QuantizationConfig(type="int8"), torch.float32)
    assert int8 is not None
    assert int8.load_in_8bit
    nf4 = bitsandbytes_config(QuantizationConfig(type="nf4", double_quant=True), torch.bfloat16)
    assert nf4 is not None
    assert (nf4.load_in_4bit, nf4.bnb_4bit_quant_type, nf4.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert nf4.bnb_4bit_compute_dtype == torch.bfloat16
