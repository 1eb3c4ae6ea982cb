"""Times training steps: what a stack is given, and how its steps are counted."""

import gc
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from train_step_parts.work import Work, dense, dialogues, on_device, padded, row_of
from wikillama.data.batching import Batch

KEEP, RECOMPUTE, OFFLOAD = "none", "recompute", "recompute+offload"  # activations: kept, or computed again
LEARNING_RATE = 1e-4
ALPHA_PER_RANK = 2
REPEATS = 20  # of the product that shows the ceiling


@dataclass(frozen=True, slots=True)
class Place:
    """Where and on what a stack runs."""

    folder: Path  # of the base model
    device: torch.device
    vocabulary: int
    rank: int
    examples: int  # of a ragged micro-batch

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32


class Job(NamedTuple):
    """A stack's turn: steps under one setting, after `warmup` that are not counted, on batches from `first` on."""

    setting: str
    checkpointing: str
    first: int
    warmup: int
    steps: int

    @property
    def seeds(self) -> range:
        """Of the micro-batches: the same for all stacks."""
        return range(self.first, self.first + self.warmup + self.steps)


class Stack(Protocol):
    """A loaded model, ready to train."""

    def turn(self, job: Job) -> dict[str, Any]:
        """`seconds`, `tokens`, `real` tokens of each step; `peak_gb`, `first_loss`, `how` batches are laid out."""


def ceiling_size(device: str) -> int:
    """Rows and columns of the product that shows what a device can do."""
    return 8192 if device == "cuda" else 256


class Ceiling:
    """A large matrix product, again and again."""

    def __init__(self, place: Place) -> None:
        size = ceiling_size(place.device.type)
        self.device = place.device
        self.a, self.b = (torch.randn(size, size, device=place.device, dtype=place.dtype) for _ in range(2))

    def turn(self, job: Job) -> dict[str, Any]:
        """`tflops`, of `size` cubed."""
        for _ in range(3):
            self.a @ self.b
        wait(self.device)
        started = time.perf_counter()
        for _ in range(REPEATS):
            self.a @ self.b
        wait(self.device)
        seconds = (time.perf_counter() - started) / REPEATS
        return {"tflops": 2 * len(self.a) ** 3 / seconds / 1e12, "size": len(self.a)}


def timed(
    step: Callable[[Batch], Tensor], model: nn.Module, works: Iterable[Work], job: Job, device: torch.device
) -> dict[str, Any]:
    """Train on the works, one optimizer step each, and time all but the first `job.warmup`.

    The adapters are afterwards what they were, so that first losses of all turns can be compared.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().cpu().clone() for p in trained]
    try:
        return _trained(step, trained, works, job, device)
    finally:
        for parameter, value in zip(trained, before, strict=True):
            parameter.data.copy_(value)
            parameter.grad = None


def _trained(
    step: Callable[[Batch], Tensor], trained: list[nn.Parameter], works: Iterable[Work], job: Job, device: torch.device
) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)
    seconds, tokens, real, first_loss, how = [], [], [], None, ""
    for number, work in enumerate(works):
        if number == job.warmup:
            gc.collect()
            reset_peak(device)
        batch, how = on_device(work.batch, device), work.how
        torch.manual_seed(job.first + number)  # rounding by chance follows the step, as in training
        wait(device)
        started = time.perf_counter()
        loss = step(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(device)
        spent = time.perf_counter() - started
        if number == 0:
            first_loss = float(loss.detach())
        if number >= job.warmup:
            seconds.append(spent)
            tokens.append(work.tokens)
            real.append(work.real)
    return {
        "seconds": seconds, "tokens": tokens, "real": real, "peak_gb": peak_gb(device), "first_loss": first_loss,
        "how": how,
    }  # fmt: skip


def unpacked(setting: str, seed: int, place: Place) -> Work:
    """The work of a stack that cannot pack: rows that are full in the place of packed ones, ragged ones padded."""
    row = row_of(setting)
    if row is not None:
        return dense(row, seed, place.vocabulary)
    return padded(dialogues(setting, seed, place.vocabulary, place.examples))


def checkpoint(llama: Any, checkpointing: str) -> None:
    """Have transformers keep a model's activations, or compute them again."""
    if checkpointing == KEEP:
        llama.gradient_checkpointing_disable()
    else:
        llama.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 products on a GPU, as Lightning's bf16-mixed."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float:
    """In 10^9 bytes: allocated on a GPU, else resident in this process since it started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
