"""JSON lines: what a row is, and lines that cannot be read."""

import io
import json
from typing import Any

import pytest

from wikillama.data.dialogue import BadRowError
from wikillama.data.jsonl import read_jsonl
from wikillama.data.rows import Row
from wikillama.errors import InputError

GOOD = {"history": ["Hi. ☕"], "facts": "Tea is a drink.", "reply": "Hello."}


def read(*rows: Any, end: bytes = b"\n") -> list[Row]:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return list(read_jsonl(io.BytesIO(end.join(lines)), "rows.jsonl"))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_each_line_is_a_row(end: bytes) -> None:
    rows = read(GOOD, {"other": 1}, end=end)
    assert [row.content for row in rows] == [GOOD, {"other": 1}]
    assert [row.where for row in rows] == ["rows.jsonl: line 1", "rows.jsonl: line 2"]
    assert [json.loads(row.raw) for row in rows] == [GOOD, {"other": 1}]


def test_blank_lines_are_counted_and_are_no_rows() -> None:
    assert [row.where for row in read(b"", GOOD, b"  \r", GOOD, b"\r")] == ["rows.jsonl: line 2", "rows.jsonl: line 4"]


def test_other_line_separators_of_unicode_end_no_line() -> None:
    (row,) = read(json.dumps({"reply": "one\u2028two\u0085"}, ensure_ascii=False).encode())
    assert row.content == {"reply": "one\u2028two\u0085"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"history": ["Hi."], "facts', "broken or truncated JSON"),
        (b'{"history": ["caf\xe9"]}', "not UTF-8"),
        (b'{"reply": "\\ud800"}', "surrogate"),
        (b"[1, 2]", "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_a_bad_line_is_a_row_that_says_why(line: bytes, reason: str) -> None:
    rows = read(GOOD, line, GOOD)
    assert [row.content for row in rows[::2]] == [GOOD, GOOD]
    assert (rows[1].where, rows[1].raw) == ("rows.jsonl: line 2", line + b"\n")
    assert isinstance(rows[1].content, BadRowError)
    assert reason in str(rows[1].content)
    assert "\n" not in str(rows[1].content)


def test_lines_are_read_one_by_one() -> None:
    stream = io.BytesIO(b"\n".join([json.dumps(GOOD).encode()] * 1000))
    next(read_jsonl(stream, "rows.jsonl"))
    assert stream.tell() == len(json.dumps(GOOD)) + 1


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^rows\.jsonl: the file is empty$"):
        read(content)
