"""Runs of convergence.py: each process loads one model, and trains it anew for every run that it is given."""

import gc
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor
from train_step_parts.failures import reason
from train_step_parts.grouped_heads import allow_grouped_heads
from train_step_parts.ours import load, loss_of
from train_step_parts.timing import KEEP
from train_step_parts.work import on_device

from convergence_parts.data import Rows, read
from convergence_parts.parity import Parity, gradient, in_float32, parity
from wikillama.data.batching import Batch, PackingCollator

LAST = 20  # steps whose mean is a run's final loss
CLIP = 1.0  # of the gradient's norm, as train.py
PARITY_ROWS = 8  # whose loss and gradient are compared
PARITY_STEPS = 20  # after which they are compared again
AGAIN = " again"  # what a second run of the same seed is called
Parities = dict[str, Parity | dict[str, str]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What all runs share."""

    folder: Path  # of the base
    data: Path
    kernels: tuple[str, ...]
    steps: int
    row: int
    valid: int
    rank: int
    lr: float
    device: str
    until: float  # seconds since the epoch after which no run begins


class Bench:
    """A loaded model under adapters, and rows of dialogues."""

    def __init__(self, settings: Settings) -> None:
        allow_grouped_heads()
        self.settings = settings
        self.device = torch.device("cuda", 0) if settings.device == "cuda" else torch.device("cpu")
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.base, model = load(settings.folder, self.device, dtype, settings.rank)
        self.model = model.train()
        self.rows: Rows = read(settings.data, self.base.tokenizer, settings.row, settings.valid)
        self._collate = PackingCollator(self.base.tokenizer.pad_token_id)

    def batch(self, row: list[Any]) -> Batch:
        return on_device(self._collate([row]), self.device)

    def fresh(self, seed: int) -> None:
        """New adapters, as that seed makes them."""
        torch.manual_seed(seed)
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.reset_lora_parameters("default", init_lora_weights=True)  # type: ignore[no-untyped-call]

    def order(self, seed: int) -> Iterator[int]:
        """Places of rows: one shuffled pass after another."""
        draw, count = random.Random(seed), len(self.rows.train)
        return itertools.chain.from_iterable(draw.sample(range(count), count) for _ in itertools.count())

    def train(self, kernels: str, seed: int, steps: int) -> dict[str, Any]:
        """One run from fresh adapters: its curve, what it comes to, and its time."""
        self.fresh(seed)
        loss = loss_of(kernels, self.model, KEEP, self.device)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.settings.lr, weight_decay=0.0)
        curve: list[Tensor] = []
        started = time.perf_counter()
        for step, place in enumerate(itertools.islice(self.order(seed), steps)):
            torch.manual_seed(seed * 1_000_003 + step)  # rounding by chance follows the step, as in training
            total, targets = loss(self.model, self.batch(self.rows.train[place]))
            loss_of_token = total / targets
            loss_of_token.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            curve.append(loss_of_token.detach())
        losses = torch.stack(curve).double().tolist()
        seconds = time.perf_counter() - started
        return {
            "final_loss": round(mean(losses[-LAST:]), 5),
            "validation_loss": round(self.validation(), 5),
            "seconds": round(seconds, 2),
            "curve": [round(value, 5) for value in losses],
        }

    def validation(self) -> float:
        """Mean loss of a target token on the held-out turns, by the reference."""
        loss = loss_of("reference", self.model, KEEP, self.device)
        self.model.eval()
        total, targets = 0.0, 0
        with torch.no_grad():
            for row in self.rows.valid:
                summed, number = loss(self.model, self.batch(row))
                total, targets = total + float(summed), targets + int(number)
        self.model.train()
        return total / targets

    def parities(self) -> Parities:
        """Losses and gradients at the model's present adapters: each kernel set, and float32."""
        batches = [self.batch(row) for row in self.rows.train[:PARITY_ROWS]]
        truth = in_float32(self.model)
        wanted = gradient(loss_of("reference", truth, KEEP, torch.device("cpu")), truth, batches)
        del truth
        gc.collect()
        reference = gradient(loss_of("reference", self.model, KEEP, self.device), self.model, batches)
        found: Parities = {"reference": parity(reference, reference, wanted)}
        for name in self.settings.kernels:
            if name != "reference":
                try:
                    own = gradient(loss_of(name, self.model, KEEP, self.device), self.model, batches)
                    found[name] = parity(own, reference, wanted)
                except Exception as error:
                    found[name] = {"error": reason(error)}
        return found


_bench: Bench | None = None  # of this process


def open_bench(settings: Settings) -> None:
    """Load what this process trains; once, before its first run."""
    global _bench
    torch.set_num_threads(1)  # several of them share the cores
    _bench = Bench(settings)


def facts() -> dict[str, Any]:
    """What a record says of base and data."""
    assert _bench is not None  # noqa: S101
    base, data = _bench.base, _bench.settings.data
    return {
        "base": base.id, "base_weights_hash": base.weights_hash, "data": {"name": data.name, **_bench.rows.facts}
    }  # fmt: skip


def parities(seed: int) -> dict[str, Parities]:
    """At fresh adapters, and at those of some steps of the reference."""
    assert _bench is not None  # noqa: S101
    _bench.fresh(seed)
    fresh, steps = _bench.parities(), min(PARITY_STEPS, _bench.settings.steps)
    _bench.train("reference", seed, steps)
    return {"fresh adapters": fresh, f"adapters of {steps} steps": _bench.parities()}


def run(name: str, seed: int) -> dict[str, Any]:
    """A run by its name and seed; `error` says why there is none."""
    assert _bench is not None  # noqa: S101
    if time.time() > _bench.settings.until:
        return {"kernels": name, "seed": seed, "error": "the time was over"}
    try:
        done = _bench.train(name.removesuffix(AGAIN), seed, _bench.settings.steps)
        return {"kernels": name, "seed": seed, **done}
    except Exception as error:
        return {"kernels": name, "seed": seed, "error": reason(error)}


def plan(kernels: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Kernels and seed of each run: first what is needed most."""
    runs = [(name, seed) for seed in seeds for name in kernels]
    return [*runs[: len(kernels)], ("reference" + AGAIN, seeds[0]), *runs[len(kernels) :]]
