"""Plans of a step: what fits a budget, what comes next when memory runs out."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from wikillama.errors import InputError
from wikillama.model.kernels.choose import Recomputation
from wikillama.training.plan import StepPlan, plan_step, predicted, rehearse

LLAMA = ("model=llama2_7b", "data=wow_mini", "packing=bestfit", "packing.length=2048", "peft.dropout=0")


@pytest.mark.parametrize("budget", [6, 8, 12, 24, 80])
def test_a_plan_fits_its_budget_and_keeps_the_step(compose: Callable[..., Any], budget: int) -> None:
    cfg = compose(*LLAMA, "trainer.batch_size=4", f"trainer.memory_budget_gb={budget}")
    plan = plan_step(cfg, fused=True)
    assert predicted(cfg, plan, fused=True).gb <= budget
    assert plan.batch_size * plan.accumulate == 4 * cfg.trainer.accumulate_grad_batches


def test_more_memory_means_less_work(compose: Callable[..., Any]) -> None:
    tight, wide = (
        plan_step(compose(*LLAMA, "trainer.batch_size=4", f"trainer.memory_budget_gb={gb}"), fused=True)
        for gb in (6, 80)
    )
    assert wide.recomputation == Recomputation()
    assert wide.accumulate == 1  # weights are unpacked once a step
    assert tight.recomputation.kept is not None
    assert tight.recomputation.kept < 32
    assert wide.batch_size >= tight.batch_size


def test_without_a_budget_it_is_as_configured(compose: Callable[..., Any]) -> None:
    cfg = compose(*LLAMA, "trainer.batch_size=3", "trainer.gradient_checkpointing=true")
    assert plan_step(cfg, fused=True) == StepPlan(3, cfg.trainer.accumulate_grad_batches, Recomputation(0))


def test_a_budget_below_the_weights_is_refused(compose: Callable[..., Any]) -> None:
    cfg = compose(*LLAMA, "trainer.memory_budget_gb=3")
    with pytest.raises(InputError, match=r"trainer.memory_budget_gb=3: llama2_7b needs \d\.\d GB at least"):
        plan_step(cfg, fused=True)


def test_notches_go_down_to_one_row_and_keep_the_step() -> None:
    plan: StepPlan | None = StepPlan(4, 2, Recomputation())
    seen = []
    while plan is not None:
        seen.append(plan)
        plan = plan.lowered(layers=8)
    assert [p.recomputation.kept for p in seen] == [None, 4, 2, 1, 0, 0, 0, 0]
    assert [p.batch_size for p in seen[-3:]] == [4, 2, 1]
    assert all(p.batch_size * p.accumulate == 8 for p in seen)


class Hungry:
    """A loss that runs out of memory as a device would, until the plan is small enough."""

    def __init__(self, plan: StepPlan, enough: StepPlan, tried: list[StepPlan]) -> None:
        tried.append(plan)
        self.fits = plan == enough

    def __call__(self, model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model.weight.sum(), torch.ones(())


def test_a_rehearsal_takes_the_first_plan_that_fits() -> None:
    model, tried = torch.nn.Linear(2, 2), []
    asked, enough = StepPlan(4, 2, Recomputation()), StepPlan(4, 2, Recomputation(0))
    found = rehearse(asked, model, 2, lambda p: Hungry(p, enough, tried), lambda p: {}, nullcontext())  # type: ignore[arg-type]
    assert found == enough
    assert [p.recomputation.kept for p in tried] == [None, 1, 0]
    assert model.weight.grad is None


def test_a_rehearsal_that_never_fits_says_so() -> None:
    asked, never = StepPlan(2, 1, Recomputation()), StepPlan(99, 1, Recomputation())
    with pytest.raises(InputError, match="out of memory with a micro-batch of one row"):
        rehearse(asked, torch.nn.Linear(2, 2), 2, lambda p: Hungry(p, never, []), lambda p: {}, nullcontext())  # type: ignore[arg-type]
