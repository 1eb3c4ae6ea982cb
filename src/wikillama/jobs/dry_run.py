"""What a training job would be, without loading anything."""

from dataclasses import replace

import yaml
from rich.table import Table

from wikillama.config.schema import TrainConfig
from wikillama.jobs.console import console, quiet_libraries
from wikillama.model.adapters import count_trainable, megabytes
from wikillama.model.kernels.choose import Recomputation
from wikillama.tracking.facts import shown
from wikillama.training.plan import plan_step, predicted, row_length

_WAYS = {
    "activations kept": Recomputation(),
    "computed again": Recomputation(0),
    "computed again, inputs in host memory": Recomputation(0, offload=True),
}


def dry_run(cfg: TrainConfig) -> None:
    """Print the composed job, the parameters that it would train, and the size of what it would save."""
    quiet_libraries()
    console.print(yaml.safe_dump(shown(cfg.model_dump()), sort_keys=False), markup=False)
    count = count_trainable(cfg.model, cfg.peft)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("trainable", f"{count:,} parameters")
    facts.add_row("adapter", f"{megabytes(count):.1f} MB (bf16)")
    fused = cfg.kernels.name != "reference" and cfg.peft.method != "none" and cfg.quantization.type != "int8"
    plan = plan_step(cfg, fused)
    tokens = plan.batch_size * row_length(cfg)
    for name, way in _WAYS.items():
        if fused or not way.offload:
            peak = predicted(cfg, replace(plan, recomputation=way), fused).gb
            facts.add_row("peak on a GPU", f"{peak:.1f} GB, {tokens:,} tokens a micro-batch, {name}")
    if cfg.trainer.memory_budget_gb is not None:
        facts.add_row("plan", f"{plan}: {predicted(cfg, plan, fused).gb:.1f} GB")
    facts.add_row("weights", "none loaded: dry run")
    console.print(facts)
