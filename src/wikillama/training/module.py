"""The LightningModule for knowledge-grounded dialogue."""

import hashlib
import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from peft import PeftModel
from torch import Tensor
from torch.optim import Optimizer
from transformers import LlamaForCausalLM

from wikillama.config.schema import OptimConfig, ScheduleConfig
from wikillama.data.batching import Batch
from wikillama.model.adapters import trainable
from wikillama.model.kernels.choose import Loss
from wikillama.model.loss import reply_loss
from wikillama.training.optimizers import build_optimizer, build_schedule


class BadCheckpointError(Exception):
    """A checkpoint of another job."""


class KgdModule(LightningModule):
    """Trains replies given history and knowledge.

    The loss of an optimizer step is the mean over all target tokens of its accumulation window and of all ranks, not a
    mean of micro-batch means, which would give tokens of short replies more weight. Micro-batches therefore return
    sums, and gradients are divided once, before clipping.
    """

    def __init__(
        self,
        model: PeftModel | LlamaForCausalLM,
        optim: OptimConfig,
        schedule: ScheduleConfig,
        loss: Loss = reply_loss,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.optim, self.schedule = optim, schedule
        self.strict_loading = False  # checkpoints hold no base weights
        self._trained = {f"model.{name}": p.shape for name, p in trainable(model).items()}
        self._seed = torch.initial_seed()
        self._window = torch.zeros(2, dtype=torch.float64)  # sum of losses, number of target tokens
        self._valid = torch.zeros(2, dtype=torch.float64)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # dropout follows from seed, rank and place alone, so that a resumed run draws what an uninterrupted one draws
        place = self._seed, self.trainer.global_rank, self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(int.from_bytes(hashlib.sha256(str(place).encode()).digest()[:8], "big", signed=True))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, tokens = self.loss(self.model, batch)
        self._window += torch.stack((loss.detach().double(), tokens.double())).cpu()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        loss, tokens = self._summed(self._window)
        # Lightning divided each loss by the accumulation, and DDP averaged the gradients over the ranks
        factor = self.trainer.accumulate_grad_batches * self.trainer.world_size / max(tokens, 1.0)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        self.log("train/loss", loss / max(tokens, 1.0), prog_bar=True)
        self.log("train/target_tokens", tokens)
        self.log("train/lr", optimizer.param_groups[0]["lr"])
        self._window.zero_()

    def on_validation_epoch_start(self) -> None:
        self._valid.zero_()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss, tokens = self.loss(self.model, batch)
        self._valid += torch.stack((loss.double(), tokens.double())).cpu()

    def on_validation_epoch_end(self) -> None:
        loss, tokens = self._summed(self._valid)
        self.log("val/loss", loss / tokens, prog_bar=True)
        self.log("val/ppl", math.exp(min(loss / tokens, 700.0)))

    def _summed(self, pair: Tensor) -> tuple[float, float]:
        """The pair summed over all ranks."""
        if self.trainer.world_size > 1:
            pair = self.trainer.strategy.reduce(pair.to(self.device), reduce_op="sum")  # type: ignore[assignment]
        return float(pair[0]), float(pair[1])

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.optim, trainable(self.model).values())
        schedule = build_schedule(self.schedule, optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in self._trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # with strict loading off, nothing else would notice a checkpoint of another adapter
        if {name: tensor.shape for name, tensor in checkpoint["state_dict"].items()} != self._trained:
            raise BadCheckpointError("the checkpoint holds other parameters than this job trains")
