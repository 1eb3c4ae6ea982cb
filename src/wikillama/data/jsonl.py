"""Reads grounded dialogues from JSON lines: one Wizard turn a line, with its context and its knowledge."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wikillama.config.schema import JsonlFields
from wikillama.data.dialogue import Dialogue, Speaker, Turn, clean
from wikillama.errors import InputError


def read_jsonl(path: Path, fields: JsonlFields) -> Iterator[Dialogue]:
    """Yield each line as a dialogue whose last turn alone is a target.

    Lines that go on from the line before (whose context opens with that line's context and response) share their id,
    so that whole conversations can be held out.

    Raises InputError for an empty file, a line that is not JSON or not UTF-8, and a missing or empty field.
    """
    conversation = -1
    previous: list[str] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            context, persona, knowledge, response = _row(line, fields, f"{path}: line {number}")
            goes_on = bool(previous) and context[: len(previous)] == previous
            conversation += not goes_on
            previous = [*context, response]
            yield Dialogue(
                id=f"{path.stem}:{conversation}",
                turns=(*_history(context), Turn("wizard", response, knowledge=knowledge, target=True)),
                persona=persona,
            )
    if conversation < 0:
        raise InputError(f"{path}: the file is empty")


def _row(line: bytes, fields: JsonlFields, where: str) -> tuple[list[str], str | None, str | None, str]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8; convert the file to UTF-8") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: broken or truncated JSON ({error.msg})") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: not a JSON object")
    for key in (fields.context, fields.knowledge, fields.response):
        if key not in row:
            raise InputError(f"{where}: no field '{key}' (it has {sorted(row)}); name yours with data.fields.*")
    response = row[fields.response]
    if not isinstance(response, str) or not response.strip():
        raise InputError(f"{where}: '{fields.response}' is empty or not text")
    context = _segments(row[fields.context], fields, where)
    persona = context.pop(0) if fields.persona_first and context else None
    return context, persona, _sentence(row[fields.knowledge], fields, where), clean(response, where)


def _sentence(knowledge: Any, fields: JsonlFields, where: str) -> str | None:
    if isinstance(knowledge, list) and all(isinstance(part, str) for part in knowledge):
        knowledge = " ".join(knowledge)
    if not isinstance(knowledge, str | None):
        raise InputError(f"{where}: '{fields.knowledge}' is neither text nor a list of texts")
    sentence = (knowledge or "").strip()
    return None if sentence in ("", fields.no_knowledge) else sentence


def _segments(context: Any, fields: JsonlFields, where: str) -> list[str]:
    if isinstance(context, str):
        context = context.split(fields.separator) if fields.separator else [context]
    if not isinstance(context, list) or not all(isinstance(part, str) for part in context):
        raise InputError(f"{where}: '{fields.context}' is neither text nor a list of texts")
    return [clean(part, where) for part in context if part.strip()]


def _history(context: list[str]) -> Iterator[Turn]:
    """Speakers alternate, and the Apprentice spoke last."""
    for place, text in enumerate(context):
        speaker: Speaker = "apprentice" if (len(context) - place) % 2 == 1 else "wizard"
        yield Turn(speaker, text)
