"""What a training run came to: as metrics of its run, and as tables for the console."""

from dataclasses import dataclass, replace

import torch
from rich.markup import escape
from rich.table import Table

from wikillama.config.schema import TrainConfig
from wikillama.evaluation.results import Evaluation, SystemResult
from wikillama.jobs.asking import QUESTIONS_SUITE
from wikillama.jobs.console import Phases, console
from wikillama.jobs.tables import counts_table, scores_table, transition_table
from wikillama.tracking.registry import ADAPTER, Version
from wikillama.tracking.remote import ui
from wikillama.training.callbacks import peak_memory_gb
from wikillama.training.fit import FitResult


@dataclass(frozen=True)
class Trained:
    """What a training run came to."""

    run_id: str
    results: dict[str, SystemResult]  # by system: base, tuned
    fit: FitResult
    adapter_params: int
    adapter_mb: float
    version: Version | None


def figures(
    cfg: TrainConfig,
    fitted: FitResult,
    count: int,
    size: float,
    results: dict[str, SystemResult],
    device: torch.device,
    phases: Phases,
) -> dict[str, float]:
    """Metrics of the run as a whole, by their name in MLflow."""
    values = {
        "adapter/params": float(count),
        "adapter/size_mb": size,
        "memory/peak_job_gb": peak_memory_gb(device),
        "train/mean_tokens_per_s": fitted.tokens_per_s,
        "val/best_loss": fitted.best_val_loss,
        "runtime/init_s": phases.seconds["load"],
        "runtime/fit_s": fitted.seconds,
    }
    if "base" in results:
        before, after = results["base"].metrics, results["tuned"].metrics
        for name in ("ppl", "f1", "kf1"):
            if name in before and name in after:
                values[f"{cfg.suite.name}/gain_{name}"] = after[name].value - before[name].value
    return values


def print_summary(cfg: TrainConfig, trained: Trained, found: Evaluation, device: torch.device, phases: Phases) -> None:
    """Scores before and after, the adapter, speed, memory, time, and where to look further."""
    title = f"{cfg.suite.name}, {found.knowledge} knowledge"
    console.print()
    console.print(scores_table(title, {name: result.metrics for name, result in trained.results.items()}))
    if cfg.evaluation.questions:
        console.print(counts_table(replace(found, suite=QUESTIONS_SUITE)))
        if "base" in trained.results:
            console.print(transition_table(trained.results["base"], trained.results["tuned"]))
    facts = Table.grid(padding=(0, 2))
    facts.add_row("adapter", f"{trained.adapter_params:,} parameters, {trained.adapter_mb:.1f} MB")
    facts.add_row("training", f"{trained.fit.steps} steps, {trained.fit.tokens_per_s:,.0f} tokens/s (without padding)")
    facts.add_row("peak memory", f"{trained.fit.peak_gb:.2f} GB in training, {peak_memory_gb(device):.2f} GB in all")
    facts.add_row("wall time", str(phases))
    if trained.version is not None:
        alias = f", alias {trained.version.alias}" if trained.version.alias else ""
        facts.add_row("registered", f"{trained.version.name} version {trained.version.number}{alias}")
    if cfg.model.weights == "random":
        facts.add_row("weights", "random: figures of speed and memory only, scores mean nothing")
    facts.add_row("look further", f"{ui(cfg.tracking.uri)}   (run {trained.run_id})")
    system = (
        f"models:/{trained.version.name}/{trained.version.number}"
        if trained.version
        else f"runs:/{trained.run_id}/{ADAPTER}"
    )
    facts.add_row("", escape(f"python chat.py adapter={system}"))
    facts.add_row("", escape(f"python evaluate.py systems='[base,{system}]' suite=qa200"))
    console.print(facts)
