"""When a run validates, and what it measures of itself while it trains."""

import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from wikillama.data.batching import Batch


def peak_memory_gb(device: torch.device) -> float:
    """Peak memory in GB of 10^9 bytes: allocated on a GPU, else resident in this process since it started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB


class Validations(Callback):
    """Validates evenly `per_epoch` times an epoch, its end included, and when training ends at `max_steps`.

    Always between two optimizer steps: a checkpoint inside an accumulation window would lose the gradients so far.
    Lightning's own `val_check_interval` counts micro-batches, and leaves out the end of an epoch it does not divide.
    """

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch = per_epoch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        batches, window, done = int(trainer.num_training_batches), trainer.accumulate_grad_batches, batch_idx + 1
        steps, step = -(-batches // window), -(-done // window)
        stepped = done % window == 0 or done == batches
        due = step * self.per_epoch // steps > (step - 1) * self.per_epoch // steps
        ends = trainer.global_step == trainer.max_steps
        trainer.val_check_batch = (
            done if stepped and (due or ends) else batches + 1
        )  # Lightning asks whether it divides


class Throughput(Callback):
    """Logs `train/tokens_per_s` (real tokens, no padding, of all ranks) and `memory/peak_gb` with each optimizer step.

    Validation and checkpoints stand outside the clock. `mean` is the rate over the whole fit.
    """

    def __init__(self) -> None:
        self.tokens = self.window_tokens = 0
        self.seconds = self.window_seconds = 0.0
        self._started = 0.0

    @property
    def mean(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.window_tokens += int(batch["attention_mask"].sum()) * trainer.world_size
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self.window_seconds += time.perf_counter() - self._started
        if (batch_idx + 1) % trainer.accumulate_grad_batches and batch_idx + 1 != trainer.num_training_batches:
            return
        self.tokens, self.seconds = self.tokens + self.window_tokens, self.seconds + self.window_seconds
        pl_module.log("train/tokens_per_s", self.window_tokens / self.window_seconds, prog_bar=True)
        pl_module.log("memory/peak_gb", peak_memory_gb(pl_module.device))
        self.window_tokens, self.window_seconds = 0, 0.0


class Samples(Callback):
    """Calls `sample` with the step before the first step and after each validation, outside the clock of `Throughput`.

    Whatever `sample` does to random numbers and to modes of layers is undone: training goes on as if nothing had been.
    """

    def __init__(self, sample: Callable[[int], None]) -> None:
        self.sample = sample

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._take(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take(trainer, pl_module)

    def _take(self, trainer: Trainer, pl_module: LightningModule) -> None:
        modes = [(layer, layer.training) for layer in pl_module.modules()]
        with isolate_rng():
            self.sample(trainer.global_step)
        for layer, training in modes:
            layer.training = training
