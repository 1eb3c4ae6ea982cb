"""What a sweep came to: printed, and logged to its parent run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from rich.markup import escape

from wikillama.evaluation.plots import save
from wikillama.jobs.console import console
from wikillama.jobs.sweep.figures import against_costs, against_swept
from wikillama.jobs.sweep.headline import objective_of
from wikillama.jobs.sweep.rows import COSTS, Row, best_of, rows_of
from wikillama.jobs.sweep.state import Sweep
from wikillama.jobs.sweep.table import columns_of, console_table, markdown_table, records_of
from wikillama.tracking.sweeps import SweptJob, describe

FOLDER = "sweep"  # of the parent's artifacts
BEST = "wikillama.sweep.best"  # tag of the parent: the run of the best job


def report(client: MlflowClient, sweep: Sweep, jobs: Sequence[SweptJob]) -> None:
    """Print the table of a sweep and its best job as a command; log both, and the pictures, to the parent run."""
    objective = sweep.config.objective
    rows = rows_of(sweep, jobs)
    title, columns, best = _title(sweep, rows), columns_of(rows, objective), best_of(rows, objective)
    console.print()
    console.print(escape(title), soft_wrap=True)
    console.print(console_table(columns))
    if best is not None:
        said = f"{objective_of(objective).label} {_value(best, objective)}, job {best.number}"
        console.print(f"best ({said}):  {escape(best.command)}", soft_wrap=True)
        client.set_tag(sweep.parent, BEST, best.job.run.id)
        client.log_metric(sweep.parent, f"sweep/best_{objective}", objective_of(objective).of(best.job.run) or 0.0)
    console.print(f"parent run {sweep.parent}: mlflow ui, artifacts {FOLDER}/")
    if rows:
        client.log_table(sweep.parent, records_of(rows, objective), f"{FOLDER}/jobs.json")
    with TemporaryDirectory() as folder:
        page = f"{title}\n\n{markdown_table(columns)}\n" + _remarks(rows, best, objective)
        describe(client, sweep.parent, page)
        for name, figure in {
            "swept.png": against_swept(rows, objective),
            "costs.png": against_costs(rows, objective),
        }.items():
            if figure is not None:
                save(figure, Path(folder) / name)
                page += f"\n![{name}]({name})\n"
        (Path(folder) / "sweep.md").write_text(f"# {page}", encoding="utf-8")
        client.log_artifacts(sweep.parent, folder, FOLDER)


def _title(sweep: Sweep, rows: Sequence[Row]) -> str:
    """How many jobs there were over what, and how they ended."""
    ends = Counter(row.status for row in rows)
    if sweep.plan.jobs is not None and sweep.plan.jobs > len(rows):
        ends["not started"] = sweep.plan.jobs - len(rows)
    ended = ", ".join(f"{n} {status}" for status, n in ends.items())
    return f"Sweep over {sweep.plan}: {ended}"


def _remarks(rows: Sequence[Row], best: Row | None, objective: str) -> str:
    """The best job as a command, which jobs no other beats at which cost, and what went wrong."""
    lines = []
    if best is not None:
        label = objective_of(objective).label
        lines.append(f"Best by {label} ({_value(best, objective)}), job {best.number}:\n\n```\n{best.command}\n```\n")
    for kind, (cost, little) in COSTS.items():
        on = [str(row.number) for row in rows if kind in row.fronts]
        if on:
            lines.append(f"Unbeaten at {'less' if little else 'more'} {cost.label}: job {', '.join(on)}.\n")
    lines += [f"Job {row.number} ({row.name}): {row.error}.\n" for row in rows if row.error]
    return "\n".join(lines)


def _value(row: Row, objective: str) -> str:
    headline = objective_of(objective)
    return format(headline.of(row.job.run), headline.form)
