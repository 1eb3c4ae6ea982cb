"""The templates of reports, and what they may show of texts that models wrote."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wikillama.evaluation import wording

_MARKDOWN = re.compile(r"[\\`*_>#|~&$]|<(?=[A-Za-z/!?])|\[(?=[^\]]*\][(\[:])")  # what could become markup
_ONE_PIECE = re.compile(r"p [<=] [\d.]+|\[[^\]]*\]")
_FILTERS = {
    "share": wording.share,
    "interval": wording.with_interval,
    "points": wording.points,
    "p": wording.p_value,
    "decimals": wording.decimals,
    "count": wording.count,
}


def page(template: str, shown: dict[str, Any], folder: Path) -> str:
    """A page in HTML that needs nothing beside it: the pictures in `folder` are put inside, and texts are escaped."""
    environment = _environment(None)
    environment.filters["inlined"] = lambda name: _inlined(folder / name)
    environment.filters["glued"] = _glued
    return environment.get_template(template).render(shown)


def markdown(template: str, shown: dict[str, Any]) -> str:
    """The same in Markdown, with pictures beside it."""
    environment = _environment(_literal)
    environment.filters["trusted"] = Markup  # figures and paths that we wrote
    return environment.get_template(template).render(shown)


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


def _inlined(picture: Path) -> str:
    return f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
