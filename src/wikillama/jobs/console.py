"""What a job says while it runs and when it is done."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from wikillama.evaluation.score import Scores

# a log file has no width: give tables room there
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def quiet_libraries() -> None:
    """Keep the console for what the user asked for: no version notes, tips and hints of the libraries below."""
    transformers_logging.set_verbosity_error()
    if not console.is_terminal:
        transformers_logging.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*is_gradient_checkpointing.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*GPU available but not used.*",
        ".*number of training batches.*smaller than the logging interval.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*Found .* module.s. in eval mode.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def bar(name: str) -> str | None:
    """The name of a progress bar, or None where nobody would see it move."""
    return name if console.is_terminal else None


class Phases:
    """Names each phase as it begins and keeps its wall time in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, says: str) -> Iterator[None]:
        console.print(f"[bold]{name}[/]: {says}")
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def __str__(self) -> str:
        listed = " + ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.0f} s = {listed}"


def scores_table(title: str, systems: Mapping[str, Scores]) -> Table:
    """Loss, perplexity, F1 and knowledge-F1, a column a system."""
    table = Table("", *systems, title=title, title_justify="left")
    rows: Sequence[tuple[str, str, str]] = (
        ("loss (nats a token)", "loss", ".3f"),
        ("perplexity", "ppl", ".2f"),
        ("F1", "f1", ".3f"),
        ("knowledge-F1", "kf1", ".3f"),
        ("words a reply", "mean_words", ".1f"),
    )
    for label, name, form in rows:
        table.add_row(label, *(format(getattr(scores, name), form) for scores in systems.values()))
    return table
