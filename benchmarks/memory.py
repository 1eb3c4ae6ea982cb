"""Measures how far the forecast of a step's memory is off, and how fast a step is within a budget of memory.

python benchmarks/memory.py                              SmolLM2-135M, Llama-2-7B and 13B at three settings each, and
                                                         Llama-2-7B within 8 and 6 GB; a GPU of 80 GB: 6 minutes
python benchmarks/memory.py --models llama2_7b           some of them
python benchmarks/memory.py --models tiny --device cpu   the machinery, on any machine; nothing is measured there

Weights are random, bases NF4 with double quantization, adapters of rank 16 on all linear layers, AdamW. Packed rows are
full, and all tokens but the first of a dialogue are targets. The forecast is `wikillama.model.forecast`'s; measured is
what PyTorch's allocator counts at its peak, from the second step on. The record is written after each row.
"""

import argparse
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from peft import PeftModel
from train_step_parts.grouped_heads import allow_grouped_heads
from train_step_parts.timing import autocast, peak_gb, reset_peak, wait
from train_step_parts.work import dialogues, on_device, packed
from transformers import LlamaForCausalLM

from wikillama.config import cli
from wikillama.config.paths import CONF, ROOT
from wikillama.config.schema import TrainConfig
from wikillama.errors import InputError
from wikillama.model.adapters import attach, trainable
from wikillama.model.base import load_base
from wikillama.model.kernels.choose import Recomputation, choose_kernels
from wikillama.tracking.facts import code_tags
from wikillama.training.optimizers import build_optimizer
from wikillama.training.plan import StepPlan, plan_step, predicted

KEPT, AGAIN, AWAY = Recomputation(), Recomputation(0), Recomputation(0, offload=True)
SETTINGS: dict[str, tuple[tuple[int, Recomputation], ...]] = {
    "smollm2_135m": ((8192, KEPT), (16_384, KEPT), (16_384, AGAIN)),
    "llama2_7b": ((2048, KEPT), (8192, AGAIN), (8192, AWAY)),
    "llama2_13b": ((2048, KEPT), (2048, AGAIN), (8192, AWAY)),
    "tiny": ((256, KEPT), (256, AGAIN), (512, AWAY)),
}
BUDGETS: dict[str, tuple[float, ...]] = {"llama2_7b": (8.0, 6.0), "tiny": (8.0,)}
ROW, ROWS_A_STEP = 2048, 4  # of the steps within a budget
STEPS = 4  # the first one is not counted


def config_of(model: str, *overrides: str) -> TrainConfig:
    given = [
        f"model={model}", "peft=qlora", "peft.r=16", "packing=bestfit", "trainer=gpu", "model.weights=random",
        "trainer.gradient_checkpointing=false", "trainer.accumulate_grad_batches=1", "tracking.register_as=null",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return cli.validate(compose("train", [*given, *overrides]), TrainConfig)


def load(model: str, device: torch.device) -> PeftModel | LlamaForCausalLM:
    cfg = config_of(model)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    base = load_base(cfg.model, cfg.quantization, device, dtype, cfg.cache_dir)
    return attach(base.model, cfg.peft, base.id).train()


def measured(
    cfg: TrainConfig, plan: StepPlan, tokens: int, model: PeftModel | LlamaForCausalLM, device: torch.device
) -> dict[str, Any]:
    """Steps of a plan whose micro-batches have so many tokens: seconds, peak, and how far the forecast was off."""
    kernels = choose_kernels("fused", model, plan.recomputation)
    optimizer = build_optimizer(cfg.optim, trainable(model).values())
    works = (packed(dialogues(f"packed-{tokens}", seed, cfg.model.architecture.vocab_size, 0)) for seed in count())
    foreseen = predicted(cfg, plan, fused=kernels.name != "reference", tokens=tokens)
    row: dict[str, Any] = {
        "model": cfg.model.name, "kernels": kernels.name, "tokens": tokens, **asdict(plan.recomputation),
        "micro_batches": plan.accumulate, "forecast_gb": round(foreseen.gb, 3),
    }  # fmt: skip
    try:
        seconds = list(_steps(plan.accumulate, works, kernels.loss, model, optimizer, device))
    except torch.OutOfMemoryError as error:
        return row | {"error": str(error).splitlines()[0]}
    finally:
        model.zero_grad(set_to_none=True)
    row["tokens_per_s"] = round(tokens * plan.accumulate / median(seconds))
    if device.type == "cuda":
        peak = peak_gb(device)
        row |= {"measured_gb": round(peak, 3), "error_share": round(foreseen.gb / peak - 1, 4)}
    return row


def _steps(
    accumulate: int, works: Iterator[Any], loss_of: Any, model: Any, optimizer: Any, device: torch.device
) -> Iterator[float]:
    for number in range(STEPS):
        if number == 1:
            gc.collect()
            reset_peak(device)
        wait(device)
        began = time.perf_counter()
        for _ in range(accumulate):
            with autocast(device):
                total, targets = loss_of(model, on_device(next(works).batch, device))
            (total / targets / accumulate).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(device)
        if number:
            yield time.perf_counter() - began


def rows_of(name: str, device: torch.device) -> Iterator[dict[str, Any]]:
    model = load(name, device)
    for tokens, recomputation in SETTINGS[name]:
        cfg = config_of(name, f"packing.length={tokens}", "trainer.batch_size=1")
        yield measured(cfg, StepPlan(1, 1, recomputation), tokens, model, device)
    for budget in BUDGETS.get(name, ()):
        cfg = config_of(
            name, f"packing.length={ROW}", f"trainer.batch_size={ROWS_A_STEP}", f"trainer.memory_budget_gb={budget}"
        )
        try:
            plan = plan_step(cfg, fused=True)
        except InputError as error:
            yield {"model": name, "budget_gb": budget, "error": str(error)}
            continue
        yield {"budget_gb": budget, "plan": str(plan), **measured(cfg, plan, plan.batch_size * ROW, model, device)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="smollm2_135m,llama2_7b,llama2_13b")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "memory.json")
    arguments = parser.parse_args()
    allow_grouped_heads()
    device = torch.device(arguments.device)
    cli.register_resolvers()
    record: dict[str, Any] = {
        "what": "forecast and measured peak of a training step, and steps within a budget",
        "command": f"python benchmarks/memory.py --models {arguments.models} --device {arguments.device}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU: nothing is measured",
        "torch": torch.__version__,
        "weights": "random",
        "rows": [],
        **code_tags(),
    }
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.models.split(","):
        for row in rows_of(name, device):
            record["rows"].append(row)
            print(json.dumps(row), flush=True)
            arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
