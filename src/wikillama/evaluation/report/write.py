"""Writes the report of an evaluation into a folder."""

from dataclasses import replace
from pathlib import Path

import orjson

from wikillama.evaluation.comparison import compare
from wikillama.evaluation.report.content import content
from wikillama.evaluation.report.figures import draw
from wikillama.evaluation.report.templates import markdown, page
from wikillama.evaluation.results import Evaluation


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write report.html, report.md, results.json and the figures; gives the path of the page.

    The page needs nothing beside it: figures are inside, there are no scripts, and what models wrote is escaped.
    Raises InputError for no system, two of one name, or one that answers a question twice.
    """
    comparison = compare(evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    # replies to turns have files of their own, and are many
    kept = replace(evaluation, systems=tuple(replace(system, predictions=()) for system in evaluation.systems))
    results = {"evaluation": kept, "comparison": comparison}
    (folder / "results.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))  # nan becomes null
    figures = draw(evaluation, comparison, folder)
    shown = {"evaluation": evaluation, "comparison": comparison, "figures": figures, **content(evaluation, comparison)}
    (folder / "report.md").write_text(markdown("report.md.jinja", shown), "utf-8")
    path = folder / "report.html"
    path.write_text(page("page.html.jinja", shown, folder), "utf-8")
    return path
