"""Training on packed rows takes the steps that training on the same examples takes in rows of their own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

# one batch of all examples, whatever their order, and Adam with an enormous eps, which is plain gradient descent
ONE_BATCH = [
    "data.limit_train=24", "trainer.batch_size=24", "trainer.max_epochs=3", "peft.dropout=0", "optim.lr=1.0e5",
    "optim.eps=1.0e6", "schedule=constant", "schedule.warmup_ratio=0",
]  # fmt: skip


def moved(fitted: Any) -> torch.Tensor:
    return torch.cat([(fitted.after[name] - start).flatten() for name, start in fitted.before.items()])


@pytest.mark.parametrize(
    "overrides",
    [["peft=lora"], ["peft=qlora", "trainer.gradient_checkpointing=true"]],
    ids=["lora", "qlora, gradient checkpointing"],
)
def test_packed_and_padded_take_the_same_steps(
    small: Callable[..., Any], run_fit: Callable[..., Any], overrides: list[str]
) -> None:
    padded = run_fit(small(*ONE_BATCH, *overrides, "packing=none"), "padded")
    packed = run_fit(small(*ONE_BATCH, *overrides, "packing=bestfit", "packing.length=512"), "packed")
    assert padded.result.steps == packed.result.steps == 3
    assert packed.series("train/target_tokens") == padded.series("train/target_tokens")
    assert packed.series("train/loss") == pytest.approx(padded.series("train/loss"), rel=1e-5)
    assert packed.series("val/loss") == pytest.approx(padded.series("val/loss"), rel=1e-5)
    assert float(moved(padded).norm()) > 1e-3
    assert float((moved(packed) - moved(padded)).norm()) < 1e-5 * float(moved(padded).norm())


def test_accumulated_rows_weigh_by_their_tokens(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    """The window of one row at a time, which holds as many rows as there are, takes the step of all rows at once."""
    rows = ["peft=lora", "packing=bestfit", "packing.length=256", "trainer.max_epochs=1"]
    at_once = run_fit(small(*ONE_BATCH, *rows), "at_once")
    windows = ["trainer.batch_size=1", "trainer.accumulate_grad_batches=24"]
    by_row = run_fit(small(*ONE_BATCH, *rows, *windows), "by_row")
    assert at_once.result.steps == by_row.result.steps == 1
    assert by_row.series("train/target_tokens") == at_once.series("train/target_tokens")
    assert float((moved(by_row) - moved(at_once)).norm()) < 1e-5 * float(moved(at_once).norm())
