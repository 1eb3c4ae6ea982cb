"""The forecast of memory against what PyTorch's allocator counted on GPUs, and against its own parts."""

from collections.abc import Callable
from typing import Any

import pytest

from wikillama.model.forecast import forecast, weights_bytes
from wikillama.model.kernels.choose import Recomputation

# Llama-2-7B's shape, NF4 with double quantization, rank 16 on all linear layers, AdamW, packed rows of 8,192 tokens;
# peaks in GB as measured on an H200 (reference, kept) and an H100 (fused)
MEASURED = [
    (True, Recomputation(), 29.95),
    (True, Recomputation(0), 8.18),
    (True, Recomputation(0, offload=True), 6.06),
    (False, Recomputation(), 52.3),
]


@pytest.mark.parametrize(("fused", "way", "gb"), MEASURED)
def test_it_is_within_a_tenth_of_what_was_measured(
    compose: Callable[..., Any], fused: bool, way: Recomputation, gb: float
) -> None:
    cfg = compose("model=llama2_7b", "data=wow_mini", "peft.r=16", "peft.dropout=0")
    found = forecast(cfg.model, cfg.quantization, cfg.peft, cfg.optim, 8192, way, fused)
    assert found.gb == pytest.approx(gb, rel=0.1)


def test_a_packed_llama_2_7b_weighs_what_its_checkpoint_does(compose: Callable[..., Any]) -> None:
    """3.87 GB in NF4 with double quantization, 13.48 GB in bfloat16: 6,738,415,616 parameters."""
    shape = compose("model=llama2_7b", "data=wow_mini").model.architecture
    quantized = compose("model=llama2_7b", "data=wow_mini", "quantization=nf4", "quantization.double_quant=true")
    plain = compose("model=llama2_7b", "data=wow_mini", "peft=lora", "quantization=none")
    assert weights_bytes(shape, quantized.quantization) / 1e9 == pytest.approx(3.87, abs=0.01)
    assert weights_bytes(shape, plain.quantization) == 2 * 6_738_415_616


def test_what_is_kept_and_what_accumulates_costs(compose: Callable[..., Any]) -> None:
    cfg = compose("model=llama2_7b", "data=wow_mini", "peft.dropout=0")
    args = (cfg.model, cfg.quantization, cfg.peft, cfg.optim, 4096)
    by_kept = [forecast(*args, Recomputation(kept), True).gb for kept in (0, 8, 16, 32)]
    assert by_kept == sorted(by_kept)
    assert by_kept[-1] == forecast(*args, Recomputation(), True).gb
    more = forecast(*args, Recomputation(), True, accumulates=True).adapters
    assert more - forecast(*args, Recomputation(), True).adapters == 4 * 29_982_720
