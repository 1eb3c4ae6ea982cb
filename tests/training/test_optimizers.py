"""Optimizers and schedules as the configuration names them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.training.optimizers import build_optimizer, build_schedule

STEPS = 100


def rates(cfg: Any) -> list[float]:
    optimizer = build_optimizer(cfg.optim, [torch.nn.Parameter(torch.zeros(1))])
    schedule = build_schedule(cfg.schedule, optimizer, STEPS)
    found = []
    for _ in range(STEPS):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("constant", lambda done: 1.0),
        ("linear", lambda done: 1.0 - done),
        ("cosine", lambda done: 0.5 * (1 + math.cos(math.pi * done))),
    ],
)
def test_shapes(compose: Callable[..., Any], name: str, after: Callable[[float], float]) -> None:
    cfg = compose(f"schedule={name}", "schedule.warmup_ratio=0.2", "optim.lr=0.5")
    for step, rate in enumerate(rates(cfg)):
        expected = step / 20 if step < 20 else after((step - 20) / 80)
        assert rate == pytest.approx(0.5 * expected, abs=1e-12)


def test_no_warmup_begins_at_the_full_rate(compose: Callable[..., Any]) -> None:
    assert set(rates(compose("schedule=constant", "schedule.warmup_ratio=0", "optim.lr=0.5"))) == {0.5}


def test_adamw_takes_every_setting(compose: Callable[..., Any]) -> None:
    settings = ["lr=0.1", "weight_decay=0.2", "beta1=0.3", "beta2=0.4", "eps=0.5"]
    optimizer = build_optimizer(compose(*(f"optim.{s}" for s in settings)).optim, [torch.nn.Parameter(torch.ones(1))])
    assert isinstance(optimizer, torch.optim.AdamW)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (0.1, 0.2, (0.3, 0.4), 0.5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw_8bit", "AdamW"), ("paged_adamw_8bit", "AdamW"), ("paged_adamw_32bit", "AdamW")],
)
def test_bitsandbytes_optimizers(compose: Callable[..., Any], name: str, kind: str) -> None:
    cfg = compose(f"optim={name}", "optim.lr=0.1", "optim.weight_decay=0.2")
    optimizer = build_optimizer(cfg.optim, [torch.nn.Parameter(torch.ones(1))])
    assert type(optimizer).__module__.startswith("bitsandbytes")
    assert kind in type(optimizer).__name__
    assert optimizer.is_paged == name.startswith("paged")  # type: ignore[attr-defined]
    assert optimizer.args.optim_bits == (32 if name.endswith("32bit") else 8)  # type: ignore[attr-defined]
    assert optimizer.param_groups[0]["weight_decay"] == 0.2
