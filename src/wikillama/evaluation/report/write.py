"""Writes the report of an evaluation into a folder."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wikillama.evaluation import wording
from wikillama.evaluation.comparison import compare
from wikillama.evaluation.report.content import content
from wikillama.evaluation.report.figures import draw
from wikillama.evaluation.results import Evaluation

_MARKDOWN = re.compile(r"[\\`*_>#|~&$]|<(?=[A-Za-z/!?])|\[(?=[^\]]*\][(\[:])")  # what could become markup
_ONE_PIECE = re.compile(r"p [<=] \.|\[[^\]]*\]")
_FILTERS = {
    "share": wording.share,
    "interval": wording.with_interval,
    "points": wording.points,
    "p": wording.p_value,
    "decimals": wording.decimals,
    "count": wording.count,
}


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write report.html, report.md, results.json and the figures; gives the path of the page.

    The page needs nothing beside it: figures are inside, there are no scripts, and what models wrote is escaped.
    Raises InputError for no system, two of one name, or one that answers a question twice.
    """
    comparison = compare(evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    results = {"evaluation": evaluation, "comparison": comparison}
    (folder / "results.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))  # nan becomes null
    figures = draw(evaluation, comparison, folder)
    shown = {"evaluation": evaluation, "comparison": comparison, "figures": figures, **content(evaluation, comparison)}
    markdown = _environment(_literal)
    markdown.filters["trusted"] = Markup  # figures and paths that we wrote
    (folder / "report.md").write_text(markdown.get_template("report.md.jinja").render(shown), "utf-8")
    page = _environment(None)
    page.filters["inlined"] = lambda name: f"data:image/png;base64,{b64encode((folder / name).read_bytes()).decode()}"
    page.filters["glued"] = _glued
    path = folder / "report.html"
    path.write_text(page.get_template("page.html.jinja").render(shown), "utf-8")
    return path


def _environment(finalize: Any) -> Environment:
    """Templates that escape every text they are given: as HTML, or by `finalize` as Markdown."""
    environment = Environment(
        loader=PackageLoader("wikillama.evaluation.report", "."),
        autoescape=finalize is None,  # noqa: S701
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name, write in _FILTERS.items():
        environment.filters[name] = write if finalize is None else _trusted(write)
    return environment


def _trusted(write: Any) -> Any:
    return lambda *args: Markup(write(*args))  # noqa: S704


def _literal(value: Any) -> Any:
    """A text as Markdown shows it literally and on one line; figures stay as they are."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(value.split()))


def _glued(sentence: str) -> str:
    """A sentence in which no line breaks within an interval or a p-value."""
    return _ONE_PIECE.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), sentence)
