"""The forecast of memory against what PyTorch's allocator counted on GPUs, and against its own parts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.model.forecast import asking_tokens, forecast, weights_bytes
from wikillama.model.kernels.choose import Recomputation

RECORDS = ROOT / "benchmarks" / "records"
MEASURED = [row for row in json.loads((RECORDS / "memory.json").read_text())["rows"] if "measured_gb" in row]
STEPS = json.loads((RECORDS / "train_step.json").read_text())["rows"]
REFERENCE = {
    row["checkpointing"]: row for row in STEPS if (row["stack"], row["setting"]) == ("reference", "packed-8192")
}


@pytest.mark.parametrize("row", MEASURED, ids=lambda r: f"{r['model']}, {r['tokens']}, {r['kept']}, {r['offload']}")
def test_it_is_within_two_percent_of_what_was_measured(compose: Callable[..., Any], row: dict[str, Any]) -> None:
    cfg = compose(f"model={row['model']}", "data=wow_mini", "peft.r=16", "peft.dropout=0")
    way = Recomputation(row["kept"], row["offload"])
    accumulates = row["micro_batches"] > 1
    found = forecast(cfg.model, cfg.quantization, cfg.peft, cfg.optim, row["tokens"], way, True, accumulates)
    assert found.gb == pytest.approx(row["measured_gb"], rel=0.02)


@pytest.mark.parametrize(("name", "way"), [("none", Recomputation()), ("recompute", Recomputation(0))])
def test_the_reference_step_is_within_five_percent(compose: Callable[..., Any], name: str, way: Recomputation) -> None:
    cfg = compose("model=llama2_7b", "data=wow_mini", "peft.r=16", "peft.dropout=0")
    found = forecast(cfg.model, cfg.quantization, cfg.peft, cfg.optim, 8192, way, False)
    assert found.gb == pytest.approx(REFERENCE[name]["peak_gb"], rel=0.05)


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


def test_what_is_asked_together_leaves_room_for_keys_and_values(compose: Callable[..., Any]) -> None:
    cfg = compose("model=llama2_7b", "data=wow_mini")
    of = (cfg.model, cfg.quantization, cfg.peft)
    tokens = [asking_tokens(*of, gb) for gb in (3, 6, 8, 24)]
    assert tokens == sorted(tokens)
    assert tokens[0] == 0
    assert tokens[1] > 500  # a prompt and its reply at the least
    keys_and_values = 2 * 2 * 32 * 4096  # bytes of a token
    assert weights_bytes(cfg.model.architecture, cfg.quantization) + tokens[2] * keys_and_values < 7e9
