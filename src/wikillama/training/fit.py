"""Fits a model: trainer, checkpoints, early stopping, resuming."""

import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig, TrainerConfig
from wikillama.data.datamodule import WowDataModule
from wikillama.errors import InputError
from wikillama.model.base import computes_in_bf16
from wikillama.model.kernels.choose import Loss
from wikillama.model.loss import reply_loss
from wikillama.training.callbacks import Throughput, Validations, peak_memory_gb
from wikillama.training.module import BadCheckpointError, KgdModule


@dataclass(frozen=True)
class FitResult:
    """What a fit came to. `best_val_loss` is that of the weights that the model now has."""

    steps: int
    seconds: float
    tokens_per_s: float
    best_val_loss: float
    peak_gb: float  # of memory, see `callbacks.peak_memory_gb`


def fit(
    cfg: TrainConfig,
    model: PeftModel | LlamaForCausalLM,
    data: WowDataModule,
    device: torch.device,
    logger: Logger | None,
    checkpoints: Path,
    resume_from: Path | None = None,
    further: Sequence[Callback] = (),
    loss: Loss = reply_loss,
) -> FitResult:
    """Train `model` in place and leave it with the weights of the best validation loss.

    `checkpoints` receives best.ckpt and last.ckpt; `further` are callbacks beside those that every fit has; `loss`
    computes the step. Raises InputError where `resume_from` does not fit this job.
    """
    module = KgdModule(model, cfg.optim, cfg.schedule, loss)
    throughput = Throughput()
    best = ModelCheckpoint(
        checkpoints,
        filename="best",
        monitor="val/loss",
        save_last=True,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    if resume_from is not None:
        _check_readable(resume_from)
    callbacks = [best, throughput, Validations(cfg.trainer.validations_per_epoch), *further]
    if cfg.trainer.patience is not None:
        callbacks.append(
            EarlyStopping(monitor="val/loss", patience=cfg.trainer.patience, check_on_train_epoch_end=False)
        )
    if cfg.trainer.progress_bar:
        callbacks.append(RichProgressBar())
    trainer = build_trainer(cfg.trainer, device, callbacks, logger)
    model.train()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    try:
        trainer.fit(module, data, ckpt_path=resume_from, weights_only=True)
    except BadCheckpointError as error:
        raise InputError(f"resume: {resume_from} does not fit this job ({error})") from error
    except SystemExit:  # how Lightning ends a fit that was interrupted
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    module.to(device)  # Lightning leaves what it trained on the CPU
    seconds = time.perf_counter() - started
    peak = peak_memory_gb(device)
    _load_weights(module, Path(best.best_model_path))
    model.eval()
    score = best.best_model_score
    assert score is not None
    return FitResult(trainer.global_step, seconds, throughput.mean, float(score), peak)


def build_trainer(
    cfg: TrainerConfig, device: torch.device, callbacks: list[Callback], logger: Logger | None
) -> Trainer:
    precision = cfg.precision
    if precision == "auto":
        precision = "bf16-mixed" if computes_in_bf16(device) else "32-true"
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=cfg.devices,
        strategy=cfg.strategy,
        precision=precision,
        max_epochs=cfg.max_epochs,
        max_steps=cfg.max_steps or -1,
        accumulate_grad_batches=cfg.accumulate_grad_batches,
        gradient_clip_val=cfg.gradient_clip_norm or None,
        num_sanity_val_steps=0,
        log_every_n_steps=cfg.log_every_n_steps,
        use_distributed_sampler=False,  # the batch sampler shares out length-grouped batches itself
        enable_progress_bar=cfg.progress_bar,
        enable_model_summary=False,
        deterministic=device.type == "cpu",  # on a GPU it would cost speed, and some kernels have no such form
        callbacks=callbacks,
        logger=logger or False,
    )


def _check_readable(checkpoint: Path) -> None:
    """Raises InputError for a checkpoint that is cut off or no checkpoint at all."""
    try:
        torch.load(checkpoint, map_location="meta", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(f"resume: {checkpoint} cannot be read ({str(error).splitlines()[0]})") from error


def _load_weights(module: KgdModule, checkpoint: Path) -> None:
    """Put the trained weights of a checkpoint back, into the same parameters."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"], strict=False)
