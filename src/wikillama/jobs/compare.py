"""Puts runs beside each other and tests whether they differ.

MLflow's own compare view shows params, metrics, tags and times of runs side by side (or only those that differ), the
curves of metrics over steps, and scatter, contour, box and parallel-coordinates plots: one number a metric and run.
What this job adds needs the answers behind the numbers: paired tests over the same questions and turns, intervals, and
remarks where runs are not comparable.
"""

from datetime import UTC, datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from rich.markup import escape
from rich.table import Table

from wikillama.config.compare import CompareConfig
from wikillama.errors import InputError
from wikillama.evaluation.report.runs import BESIDE, NAME, result_in_words, runs_table, write_comparison
from wikillama.evaluation.run_comparison import Candidate, Row, RunComparison, compare_suite, run_remarks
from wikillama.jobs.candidates import rows_of, run_labels
from wikillama.jobs.console import Phases, console
from wikillama.tracking.choosing import chosen_runs, runs_of_sweep
from wikillama.tracking.description import KIND
from wikillama.tracking.facts import code_tags, shown
from wikillama.tracking.reading import RunFacts, differing_params
from wikillama.tracking.remote import ui
from wikillama.tracking.run import open_client, tracked_run

COMPARED = "wikillama.compared"  # tag of a comparison: the ids of its runs


def compare(cfg: CompareConfig) -> RunComparison:
    """Read the runs, test what they have in common, write the page, log it and print its tables.

    Raises InputError for runs that do not exist, and for runs that were scored on nothing in common.
    """
    phases = Phases()
    client = open_client(cfg.tracking.uri)
    with phases("read", "runs and their answers"):
        runs = runs_of_sweep(client, cfg.parent) if cfg.parent else chosen_runs(client, cfg.tracking, cfg.runs)
        rows, suites = _read(client, runs)
    with phases("compare", f"{len(runs)} runs, {cfg.resamples:,} resamples"):
        found = _compared(cfg, runs, rows, suites)
    folder = Path(HydraConfig.get().runtime.output_dir) / NAME
    name = cfg.tracking.run_name or f"comparison of {', '.join(found.runs)}"[:120]
    tracking = cfg.tracking.model_copy(update={"run_name": name, "system_metrics": False})  # it takes seconds
    with tracked_run(tracking, cfg, folder) as run:
        run.tags({KIND: NAME, COMPARED: " ".join(one.id for one in runs)[:5000]})
        page = write_comparison(found, folder, _provenance(cfg))
        run.artifacts(folder, NAME)
        run.describe("".join(f"- {said}\n" for said in _said(found)))
        _print(found)
        console.print(f"page          {shown(str(page))}   (also in the run, under {NAME}/)", soft_wrap=True)
        console.print(f"look further  {ui(cfg.tracking.uri)}   (run {run.id})", soft_wrap=True)
    return found


def _read(client: MlflowClient, runs: list[RunFacts]) -> tuple[list[Row], dict[str, list[Candidate]]]:
    """The rows of all runs, and the candidates of each suite."""
    rows: list[Row] = []
    suites: dict[str, list[Candidate]] = {}
    for run, label in zip(runs, run_labels(runs), strict=True):
        own, scored = rows_of(client, run, label)
        rows += own
        for suite, candidate in scored:
            suites.setdefault(suite, []).append(candidate)
    return rows, suites


def _compared(
    cfg: CompareConfig, runs: list[RunFacts], rows: list[Row], suites: dict[str, list[Candidate]]
) -> RunComparison:
    compared = tuple(compare_suite(suite, candidates, cfg.resamples) for suite, candidates in suites.items())
    if not any(suite.pairs or suite.metric_pairs for suite in compared):
        raise InputError(_nothing_in_common(rows, suites))
    return RunComparison(
        rows=tuple(rows),
        params=differing_params(runs),
        suites=compared,
        remarks=run_remarks(rows),
        resamples=cfg.resamples,
    )


def _nothing_in_common(rows: list[Row], suites: dict[str, list[Candidate]]) -> str:
    scored = []
    for row in rows:
        of = [suite for suite, candidates in suites.items() if any(c.name == row.name for c in candidates)]
        scored.append(f"{row.name} on {' and '.join(of) or 'nothing'}")
    return (
        f"these runs have no question and no turn in common under one judge ({'; '.join(scored)}): score them on one "
        "suite, as in python evaluate.py suite=qa200 systems='[runs:/ID/adapter,...]'"
    )


def _provenance(cfg: CompareConfig) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "store": shown(cfg.tracking.uri),
        "resamples": f"{cfg.resamples:,} of dialogues, seed 0",
        **code_tags(),
    }


def _print(found: RunComparison) -> None:
    console.print()
    console.print(_runs_table(found))
    if found.params:
        differ = Table(
            "parameter", *map(escape, found.runs), title="configuration, where it differs", title_justify="left"
        )
        for name, values in found.shared_params.items():
            differ.add_row(name, *map(escape, values))
        console.print(differ)
        if few := len(found.params) - len(found.shared_params):
            console.print(f"and {few} parameters that not all of them have, see the page")
    for said in _said(found):
        console.print(escape(said))


def _said(found: RunComparison) -> list[str]:
    """What differs and what is to be minded, a line each."""
    results = [f"{suite.suite}: {said}" for suite in found.suites for said in result_in_words(suite)]
    return results + [f"Mind: {remark}" for remark in found.all_remarks]


def _runs_table(found: RunComparison) -> Table:
    """A column a run, with intervals, as long as they are few; else a line a run."""
    beside = len(found.rows) <= BESIDE
    cells = runs_table(found, intervals=beside)
    names = [escape(row.name) for row in found.rows]
    if not beside:
        table = Table("run", *cells.columns, title="runs", title_justify="left")
        for name, line in zip(names, cells.lines, strict=True):
            table.add_row(name, *line)
        return table
    table = Table("", *names, title="runs", title_justify="left")
    for column, values in zip(cells.columns, zip(*cells.lines, strict=True), strict=True):
        table.add_row(column, *values)
    return table
