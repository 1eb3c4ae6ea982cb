"""What a training job would be, without loading anything."""

import yaml
from rich.table import Table

from wikillama.config.schema import TrainConfig
from wikillama.jobs.console import console, quiet_libraries
from wikillama.model.adapters import count_trainable, megabytes
from wikillama.tracking.facts import shown


def dry_run(cfg: TrainConfig) -> None:
    """Print the composed job, the parameters that it would train, and the size of what it would save."""
    quiet_libraries()
    console.print(yaml.safe_dump(shown(cfg.model_dump()), sort_keys=False), markup=False)
    count = count_trainable(cfg.model, cfg.peft)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("trainable", f"{count:,} parameters")
    facts.add_row("adapter", f"{megabytes(count):.1f} MB (bf16)")
    facts.add_row("weights", "none loaded: dry run")
    console.print(facts)
