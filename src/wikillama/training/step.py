"""Readies the training step: its kernels and its plan, tried out on the largest micro-batch where there is a GPU."""

from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig
from wikillama.data.batching import Batch
from wikillama.data.datamodule import WowDataModule
from wikillama.errors import InputError
from wikillama.model.forecast import Forecast
from wikillama.model.kernels.choose import Kernels, Loss, Name, Recomputation, choose_kernels
from wikillama.training.plan import StepPlan, plan_step, predicted, rehearse


@dataclass(frozen=True, slots=True)
class ReadyStep:
    """The configuration with its micro-batches as planned, the kernels, and the peak that they should take."""

    cfg: TrainConfig
    kernels: Kernels
    plan: StepPlan
    forecast: Forecast
    remarks: tuple[str, ...]  # for people, a line each


def ready_step(
    cfg: TrainConfig, model: PeftModel | LlamaForCausalLM, data: WowDataModule, device: torch.device
) -> ReadyStep:
    """Choose kernels and plan for `model`, and set the micro-batches of `data` to it.

    Where the plan asked for runs out of GPU memory on the largest micro-batch, the next lower one that does not is
    taken: the optimizer step stays the same. Raises InputError where nothing fits.
    """
    layers = cfg.model.architecture.num_hidden_layers
    first = choose_kernels(cfg.kernels.name, model, Recomputation())
    name: Name = first.name
    remark, fused = first.remark, first.name != "reference"
    del first  # it holds a buffer on the device
    asked = plan_step(cfg, fused)
    chosen: dict[StepPlan, Kernels] = {}

    def loss_of(plan: StepPlan) -> Loss:
        chosen.clear()  # a plan that did not fit gives back what it held
        chosen[plan] = choose_kernels(name, model, plan.recomputation)
        return chosen[plan].loss

    def largest(plan: StepPlan) -> Batch:
        return {name: tensor.to(device) for name, tensor in data.largest_batch(plan.batch_size).items()}

    plan = asked
    if device.type == "cuda":
        model.train()
        autocast = torch.autocast("cuda", torch.bfloat16)
        try:
            plan = rehearse(asked, model, layers, loss_of, largest, autocast)
        except Exception as error:  # whatever a compiler or a driver raises of kernels that it cannot build or run
            if isinstance(error, InputError) or name == "reference" or cfg.kernels.name == "fp8":
                raise
            remark = f"kernels: reference, since {name} fails here ({_first_line(error)})"
            name, fused = "reference", False
            asked = plan_step(cfg, fused)
            plan = rehearse(asked, model, layers, loss_of, largest, autocast)
    else:
        loss_of(plan)
    tokens = int(data.largest_batch(plan.batch_size)["attention_mask"].sum())
    remarks = [remark] if remark else []
    if plan != asked:
        remarks.append(f"out of memory with {asked}: taken instead, for the same optimizer step, {plan}")
    elif cfg.trainer.memory_budget_gb is not None:
        remarks.append(f"for {cfg.trainer.memory_budget_gb:g} GB: {plan}")
    data.trainer_config = plan.applied(cfg).trainer
    return ReadyStep(plan.applied(cfg), chosen[plan], plan, predicted(cfg, plan, fused, tokens), tuple(remarks))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
