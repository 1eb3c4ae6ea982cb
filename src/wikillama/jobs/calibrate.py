"""Compares a judge of replies with people."""

from pathlib import Path
from typing import Any

from rich.table import Table

from wikillama.config.schema import EvaluateConfig
from wikillama.evaluation.judging.calibrate import Agreement, by_judge, calibrate, read_labelled
from wikillama.jobs.console import console
from wikillama.jobs.judges import reply_judge
from wikillama.jobs.score_file import write_json
from wikillama.jobs.tables import with_interval


def calibrate_judge(cfg: EvaluateConfig) -> dict[str, Any]:
    """The judge's agreement with the labels of the given files: overall, by source, by system; written to `out`."""
    files = [cfg.labelled] if isinstance(cfg.labelled, str) else cfg.labelled or []
    items = [item for file in files for item in read_labelled(Path(file).expanduser())]
    judge = reply_judge(cfg.judge)
    found = calibrate(items, by_judge(judge))
    table = Table(
        "", "n", "AUC", "kappa", "balanced accuracy", "accuracy",
        title=f"judge {judge.name} against people, correct from a score of {found.threshold}", title_justify="left",
    )  # fmt: skip
    for name, agreement in {"all": found.overall, **found.by_source, **found.by_system}.items():
        table.add_row(name, f"{agreement.n:,}", *_figures(agreement))
    console.print(table)
    console.print(_matrix(found.overall))
    record = {"judge": judge.name, **found.to_json()}
    if cfg.out:
        write_json(Path(cfg.out), record)
    return record


def _figures(agreement: Agreement) -> list[str]:
    figures = (agreement.auc, agreement.kappa, agreement.balanced_accuracy, agreement.accuracy)
    return [with_interval(figure, ".3f") for figure in figures]


def _matrix(agreement: Agreement) -> Table:
    table = Table("people \\ judge", *agreement.labels, title="all replies", title_justify="left")
    for label, row in zip(agreement.labels, agreement.table, strict=True):
        table.add_row(label, *(f"{count:,}" for count in row))
    return table
