"""What a job says while it runs and when it is done."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from wikillama.data.prepared import STAGES

# a log file has no width: give tables room there
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)

_UNITS = {"extraction": "bytes", "conversion": "turns", "instruction": "prompts", "training-ready": "tokens"}


def quiet_libraries() -> None:
    """Keep the console for what the user asked for: no version notes, tips and hints of the libraries below."""
    from transformers.utils import logging as transformers_logging

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


class StageBars:
    """The four stages that a split goes through, each with its bar; nothing where nobody would see them move."""

    def __init__(self, split: str) -> None:
        columns = (TextColumn("  {task.description:<16}"), BarColumn(), TextColumn("{task.fields[said]}"))
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
        )
        self._tasks = {s: self._progress.add_task(f"{split}: {s}", total=None, said="") for s in STAGES}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        said = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB" if total else f"{done:,} {_UNITS[stage]}"
        self._progress.update(self._tasks[stage], completed=done, total=total, said=said)

    def __enter__(self) -> "StageBars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for bytes that come from elsewhere or are unpacked."""
    columns = (TextColumn(f"  {name}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


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
