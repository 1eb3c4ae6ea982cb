"""How a step is cut into micro-batches, and what it keeps, so that it fits the memory at hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig
from wikillama.data.batching import Batch
from wikillama.errors import InputError
from wikillama.model.forecast import Forecast, forecast
from wikillama.model.kernels.choose import Loss, Recomputation

# Costs of a token, of one that is kept, on an H200 at 8,192 tokens of Llama-2-7B: layers that are computed again and
# their inputs in the host's memory (benchmarks/records/train_step.json); in tokens, the unpacking of weights, which
# a micro-batch pays once (its kernels in a profile; a slow host's launches come on top, see rows of 2,048 tokens)
_AGAIN, _AWAY, _UNPACKING = 0.35, 0.01, 410
_MARGIN = 1.02  # forecasts were up to 2 % too low, see benchmarks/records/memory.json and tests/model/test_forecast.py


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Micro-batches of `batch_size` rows, `accumulate` of them to an optimizer step, and what each keeps."""

    batch_size: int
    accumulate: int
    recomputation: Recomputation

    def applied(self, cfg: TrainConfig) -> TrainConfig:
        """The configuration with this plan's micro-batches."""
        sizes = {"batch_size": self.batch_size, "accumulate_grad_batches": self.accumulate}
        return cfg.model_copy(update={"trainer": cfg.trainer.model_copy(update=sizes)})

    def lowered(self, layers: int) -> "StepPlan | None":
        """The next plan that takes less memory for the same step; none: there is no less."""
        kept = layers if self.recomputation.kept is None else self.recomputation.kept
        if kept > 0:
            return replace(self, recomputation=Recomputation(kept // 2 if kept > 1 else 0))
        if not self.recomputation.offload:
            return replace(self, recomputation=Recomputation(0, offload=True))
        if self.batch_size % 2:
            return None
        return replace(self, batch_size=self.batch_size // 2, accumulate=self.accumulate * 2)

    def __str__(self) -> str:
        kept = "all layers" if self.recomputation.kept is None else f"{self.recomputation.kept} layers"
        away = ", inputs of the others in host memory" if self.recomputation.offload else ""
        return f"micro-batch {self.batch_size} x {self.accumulate}, activations of {kept} kept{away}"


def plan_step(cfg: TrainConfig, fused: bool) -> StepPlan:
    """The plan that a configuration asks for, or the fastest one within `trainer.memory_budget_gb`.

    Raises InputError where nothing fits.
    """
    trainer = cfg.trainer
    asked = StepPlan(
        trainer.batch_size,
        trainer.accumulate_grad_batches,
        Recomputation(0 if trainer.gradient_checkpointing else None),
    )
    if trainer.memory_budget_gb is None:
        return asked
    needed = {plan: predicted(cfg, plan, fused).gb * _MARGIN for plan in _plans(asked, cfg, fused)}
    fitting = [plan for plan, gb in needed.items() if gb <= trainer.memory_budget_gb]
    if not fitting:
        least = min(needed.values())
        raise InputError(
            f"trainer.memory_budget_gb={trainer.memory_budget_gb:g}: {cfg.model.name} needs {least:.1f} GB at least; "
            "lower data.max_length, packing.length or peft.r, or choose a 4-bit quantization"
        )
    return min(fitting, key=lambda plan: _cost(plan, cfg))


def predicted(cfg: TrainConfig, plan: StepPlan, fused: bool, tokens: int | None = None) -> Forecast:
    """The memory that a plan takes, with rows of full length unless the largest micro-batch's `tokens` are known."""
    return forecast(
        cfg.model,
        cfg.quantization,
        cfg.peft,
        cfg.optim,
        plan.batch_size * row_length(cfg) if tokens is None else tokens,
        plan.recomputation,
        fused,
        accumulates=plan.accumulate > 1,
    )


def row_length(cfg: TrainConfig) -> int:
    """Tokens of the longest possible row of a micro-batch."""
    return cfg.data.max_length if cfg.packing.strategy == "none" else cfg.packing.length


def rehearse(
    plan: StepPlan,
    model: PeftModel | LlamaForCausalLM,
    layers: int,
    loss_of: Callable[[StepPlan], Loss],
    largest: Callable[[StepPlan], Batch],
    autocast: torch.autocast,
) -> StepPlan:
    """The plan, or the first lower one under which the largest micro-batch goes forward and back without running out.

    Leaves no gradients behind. Raises InputError where none does.
    """
    while True:
        try:
            with autocast:
                loss_of(plan)(model, largest(plan))[0].backward()
            return plan
        except torch.OutOfMemoryError as error:
            reason = error.with_traceback(None)  # the frames hold the tensors
        finally:
            model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        lower = plan.lowered(layers)
        if lower is None:
            raise InputError(
                "out of memory with a micro-batch of one row, all activations computed again: lower data.max_length"
            ) from reason
        plan = lower


def _plans(asked: StepPlan, cfg: TrainConfig, fused: bool) -> list[StepPlan]:
    """Ways to take the same step, of which one is the plan asked for."""
    layers = cfg.model.architecture.num_hidden_layers
    kept = range(layers + 1) if fused else (0, layers)
    ways = [Recomputation(None if k == layers else k) for k in kept]
    ways += [Recomputation(k, offload=True) for k in kept if k < layers and fused]
    rows = asked.batch_size * asked.accumulate
    return [StepPlan(b, rows // b, way) for b in range(rows, 0, -1) if rows % b == 0 for way in ways]


def _cost(plan: StepPlan, cfg: TrainConfig) -> float:
    layers = cfg.model.architecture.num_hidden_layers
    again = 1 - (layers if plan.recomputation.kept is None else plan.recomputation.kept) / layers
    away = _AWAY if plan.recomputation.offload else 0.0
    return (1 + _AGAIN * again + away) * (1 + _UNPACKING / (plan.batch_size * row_length(cfg)))
