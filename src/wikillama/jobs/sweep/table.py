"""A sweep as a table: for the console, as Markdown, and as columns."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from wikillama.jobs.sweep.headline import HEADLINES, Headline, objective_of
from wikillama.jobs.sweep.rows import Row


def columns_of(rows: Sequence[Row], objective: str) -> dict[str, list[str]]:
    """The table, column by column; figures that no job has are left out."""
    headlines = dict.fromkeys((objective_of(objective), *HEADLINES))
    known = [h for h in headlines if any(h.of(row.job.run) is not None for row in rows)]
    columns = {
        "job": [str(row.number) for row in rows],
        **{key: [row.values[key] for row in rows] for key in (rows[0].values if rows else ())},
        "status": [row.status for row in rows],
        "s": [f"{row.job.run.seconds or 0:,.0f}" for row in rows],
        **{headline.label: [_figure(headline, row) for row in rows] for headline in known},
        "front": [", ".join(row.fronts) for row in rows],
        "run": [row.job.run.id for row in rows],
    }
    return {name: cells for name, cells in columns.items() if any(cells)}


def records_of(rows: Sequence[Row], objective: str) -> dict[str, list[object]]:
    """The same for machines: figures as numbers, errors in full."""
    headlines = dict.fromkeys((objective_of(objective), *HEADLINES))
    return {
        "job": [row.number for row in rows],
        **{key: [row.values[key] for row in rows] for key in (rows[0].values if rows else ())},
        "status": [row.job.run.status for row in rows],
        "found": [row.job.found for row in rows],
        "seconds": [row.job.run.seconds for row in rows],
        **{headline.label: [headline.of(row.job.run) for row in rows] for headline in headlines},
        "front": [", ".join(row.fronts) for row in rows],
        "error": [row.error for row in rows],
        "run": [row.job.run.id for row in rows],
        "command": [row.command for row in rows],
    }


def console_table(columns: dict[str, list[str]]) -> Table:
    """For the console: keys by their last part where that is clear, run ids cut to their beginning."""
    table = Table()
    ends = Counter(name.rpartition(".")[2] for name in columns)
    for name in columns:
        end = name.rpartition(".")[2]
        header = end if ends[end] == 1 else name
        table.add_column(header, no_wrap=name == "run", min_width=max(map(len, header.split())))
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells[:-1], cells[-1][:8])
    return table


def markdown_table(columns: dict[str, list[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *map(list, zip(*columns.values(), strict=True))]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _figure(headline: Headline, row: Row) -> str:
    value = headline.of(row.job.run)
    return "" if value is None else format(value, headline.form)
