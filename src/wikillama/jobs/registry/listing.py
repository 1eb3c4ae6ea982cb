"""`list`: the versions of the registered model, newest first."""

from collections.abc import Mapping
from datetime import datetime

from rich.table import Table

from wikillama.config.registry import RegistryConfig
from wikillama.jobs.console import console
from wikillama.tracking.registry.tags import counts_in, metrics_in
from wikillama.tracking.registry.versions import versions_of
from wikillama.tracking.run import open_client


def list_versions(cfg: RegistryConfig) -> None:
    """Print the table of versions."""
    found = versions_of(open_client(cfg.tracking.uri), cfg.registered)
    table = Table(
        "version", "aliases", "base", "quantization", "rank", "MB", "scores", "created",
        title=cfg.registered, title_justify="left",
    )  # fmt: skip
    for version in found:
        tags = version.tags
        rank = " ".join(tags[key] for key in ("peft", "rank") if key in tags)
        table.add_row(
            str(version.version),
            "\n".join(version.aliases),
            tags.get("base_model", "") + ("\nrandom weights" if tags.get("weights") == "random" else ""),
            tags.get("quantization", ""),
            rank,
            tags.get("size_mb", ""),
            scores(tags),
            created(version.creation_timestamp),
        )
    console.print(table)
    if not found:
        console.print("no version yet: train one, or `python registry.py import folder=FOLDER`")


def scores(tags: Mapping[str, str]) -> str:
    """Headline figures, a line a suite."""
    lines = []
    for (suite, mode), metrics in metrics_in(tags).items():
        figures = {"F1": metrics.get("f1"), "KF1": metrics.get("kf1"), "ppl": metrics.get("ppl")}
        said = " ".join(f"{name} {each.value:.{2 if name == 'ppl' else 3}f}" for name, each in figures.items() if each)
        lines.append(f"{_named(suite, mode)}: {said}")
    for (suite, mode), counts in counts_in(tags).items():
        lines.append(f"{_named(suite, mode)}: {counts.correct} of {sum(counts[:3])} correct")
    return "\n".join(lines) or "not evaluated"


def _named(suite: str, mode: str) -> str:
    return suite if mode == "gold" else f"{suite}, {mode}"


def created(milliseconds: int) -> str:
    """A time of MLflow's as people write it, in the time zone of this machine."""
    return datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M")
