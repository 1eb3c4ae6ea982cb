"""The prose of a Markdown file."""

import re

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_BULLET = re.compile(r"^\s*(?:[-*+>]|\d+[.)])\s+", re.MULTILINE)
_MARKS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$|^\s*\|.*\|\s*$|<[^>\n]+>", re.MULTILINE)  # rules, tables, tags


def plain_text(markdown: str) -> tuple[str | None, str]:
    """The first heading, None where there is none, and the text without headings, code blocks, tables and marks.

    Items of a list become paragraphs.
    """
    text = _FENCE.sub("\n", markdown)
    first = _HEADING.search(text)
    text = _RULE.sub(" ", _HEADING.sub("\n", text))
    text = _LINK.sub(r"\1", _BULLET.sub("\n", text))
    return first.group(1) if first else None, _MARKS.sub(r"\2", text)
