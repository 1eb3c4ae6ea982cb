"""Scores replies that any system has written to a file."""

import json
import math
from pathlib import Path
from typing import Any

import orjson

from wikillama.config.schema import EvaluateConfig
from wikillama.errors import InputError
from wikillama.evaluation.corpus_metrics import Reply, signature
from wikillama.evaluation.score import score_texts
from wikillama.jobs.console import console
from wikillama.jobs.tables import metrics_table


def score_file(cfg: EvaluateConfig) -> dict[str, Any]:
    """Every metric that the lines' fields allow, printed and written to `out`.

    A line holds `reply`, `references` (a list) and, where known, `knowledge`, `history` (texts or lists of texts),
    `topic` and `dialogue` (turns of one dialogue are resampled together; without it every line is its own). Raises
    InputError for a line that is not of this form.
    """
    assert cfg.predictions is not None  # the entry script saw to it
    replies = read_replies(Path(cfg.predictions).expanduser())
    found = score_texts(replies, cfg.evaluation)
    console.print(metrics_table(f"{cfg.predictions}: {len(replies):,} replies", found))
    record = {
        "replies": len(replies),
        "sacrebleu": signature(max(len(reply.references) for reply in replies)),
        "resamples": cfg.evaluation.resamples,
        "metrics": {
            name: {
                "value": e.value,
                "low": None if math.isnan(e.low) else e.low,
                "high": None if math.isnan(e.high) else e.high,
                "n": e.n,
            }
            for name, e in found.items()
        },
    }
    if cfg.out:
        write_json(Path(cfg.out), record)
    return record


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Raises InputError where it cannot be written."""
    try:
        path.expanduser().parent.mkdir(parents=True, exist_ok=True)
        path.expanduser().write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"out={path}: cannot be written ({error.strerror})") from error
    console.print(f"written to {path}", soft_wrap=True)


def read_replies(path: Path) -> list[Reply]:
    """The replies of a file in JSON lines. Raises InputError naming the line that is wrong."""
    replies = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            replies.append(_reply(row, number))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path}: line {number}: {reason}") from error
    if not replies:
        raise InputError(f"{path}: the file holds no reply")
    return replies


def _reply(row: Any, number: int) -> Reply:
    if not isinstance(row, dict):
        raise TypeError("not a JSON object")
    if not isinstance(row["reply"], str):
        raise TypeError("'reply' is not text")
    references = _texts(row["references"], "references")
    if not references:
        raise ValueError("'references' is empty")
    topic = row.get("topic")
    return Reply(
        reply=row["reply"],
        references=references,
        knowledge=_texts(row.get("knowledge"), "knowledge") or None,
        history=_texts(row.get("history"), "history"),
        topic=topic if isinstance(topic, str) else None,
        cluster=str(row.get("dialogue", number)),
    )


def _texts(value: Any, field: str) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise TypeError(f"'{field}' is neither text nor a list of texts")
    return tuple(listed)
