"""Optimizer and schedule from configuration."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from wikillama.config.schema import OptimConfig, ScheduleConfig

_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def build_optimizer(optim: OptimConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    betas = (optim.beta1, optim.beta2)
    if optim.name == "adamw":
        return torch.optim.AdamW(parameters, optim.lr, betas, optim.eps, optim.weight_decay)
    import bitsandbytes

    kinds = {
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw_32bit": bitsandbytes.optim.PagedAdamW32bit,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }
    return kinds[optim.name](parameters, optim.lr, betas, optim.eps, optim.weight_decay)  # type: ignore[no-any-return]


def build_schedule(schedule: ScheduleConfig, optimizer: Optimizer, steps: int) -> LRScheduler:
    warmup = round(schedule.warmup_ratio * steps)
    built: LRScheduler = get_scheduler(
        _SCHEDULES[schedule.name], optimizer, num_warmup_steps=warmup, num_training_steps=steps
    )
    return built
