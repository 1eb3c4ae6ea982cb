"""Reads the rows of a file in JSON lines."""

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from wikillama.data.dialogue import BadRowError
from wikillama.data.rows import Row
from wikillama.errors import InputError


def read_jsonl(stream: BinaryIO, where: str) -> Iterator[Row]:
    """Yield each line that is not blank. Raises InputError for an empty file."""
    empty = True
    for number, line in enumerate(stream, start=1):
        if line.strip():
            empty = False
            yield Row(f"{where}: line {number}", line, _content(line))
    if empty:
        raise InputError(f"{where}: the file is empty")


def _content(line: bytes) -> dict[str, object] | BadRowError:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRowError(f"broken or truncated JSON, or not UTF-8 ({error.msg.split(':')[0]})")
    return row if isinstance(row, dict) else BadRowError("not a JSON object")
