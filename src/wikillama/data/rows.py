"""Dialogues from rows of any grounded corpus: one Wizard turn a row, with its context and its knowledge."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from wikillama.config.schema import RowFields
from wikillama.data.dialogue import BadRow, BadRowError, Dialogue, OnBadRow, Speaker, Turn, clean


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the corpus; `content` is what could be parsed, or why it could not."""

    where: str
    raw: bytes
    content: dict[str, Any] | BadRowError


@dataclass(slots=True)
class _Conversation:
    """Rows that go on from one another."""

    context: list[str]  # all utterances so far, the last reply included
    persona: str | None
    topic: str | None
    replies: dict[int, Turn] = field(default_factory=dict)  # by place in the context

    def dialogue(self, identity: str) -> Dialogue:
        last = len(self.context) - 1
        turns = (
            self.replies.get(place) or Turn(_speaker(last - place), text) for place, text in enumerate(self.context)
        )
        return Dialogue(identity, tuple(turns), self.topic, self.persona)


def dialogues_of(rows: Iterable[Row], fields: RowFields, name: str, on_bad_row: OnBadRow) -> Iterator[Dialogue]:
    """Yield conversations, put together from rows that go on from the row before.

    A row goes on where its persona is the same and its context opens with all that was said up to the row before, reply
    included. Every reply that a row gives is a target. Ids are `name:number`. A row that cannot be used goes to
    `on_bad_row`.
    """
    number, open_one = 0, None
    for row in rows:
        try:
            if isinstance(row.content, BadRowError):
                raise row.content
            context, persona, topic, reply = _read(row.content, fields)
        except BadRowError as error:
            on_bad_row(BadRow(row.where, str(error), row.raw))
            continue
        if open_one is None or persona != open_one.persona or context[: len(open_one.context)] != open_one.context:
            if open_one is not None:
                yield open_one.dialogue(f"{name}:{number}")
                number += 1
            open_one = _Conversation([], persona, topic)
        open_one.replies[len(context)] = reply
        open_one.context = [*context, reply.text]
    if open_one is not None:
        yield open_one.dialogue(f"{name}:{number}")


def _speaker(turns_before_a_reply: int) -> Speaker:
    """Speakers alternate, and a reply is the Wizard's."""
    return "apprentice" if turns_before_a_reply % 2 == 1 else "wizard"


def _read(row: dict[str, Any], fields: RowFields) -> tuple[list[str], str | None, str | None, Turn]:
    for key in (fields.context, fields.knowledge, fields.response):
        if key not in row:
            raise BadRowError(f"no field '{key}' (it has {sorted(row)}); name yours with data.fields.*")
    response = row[fields.response]
    if not isinstance(response, str) or not response.strip():
        raise BadRowError(f"'{fields.response}' is empty or not text")
    context = _segments(row[fields.context], fields)
    persona = context.pop(0) if fields.persona_first and context else _optional(row, fields.persona)
    reply = Turn("wizard", clean(response), _knowledge(row[fields.knowledge], fields), target=True)
    return context, persona, _optional(row, fields.topic), reply


def _optional(row: dict[str, Any], key: str | None) -> str | None:
    value = row.get(key) if key else None
    if not isinstance(value, str | None):
        raise BadRowError(f"'{key}' is not text")
    return clean(value) if value and value.strip() else None


def _knowledge(knowledge: Any, fields: RowFields) -> str | None:
    if isinstance(knowledge, list) and all(isinstance(part, str) for part in knowledge):
        knowledge = " ".join(knowledge)
    if not isinstance(knowledge, str | None):
        raise BadRowError(f"'{fields.knowledge}' is neither text nor a list of texts")
    sentence = clean(knowledge or "")
    return None if sentence in ("", fields.no_knowledge) else sentence


def _segments(context: Any, fields: RowFields) -> list[str]:
    if isinstance(context, str):
        context = context.split(fields.separator) if fields.separator else [context]
    if not isinstance(context, list) or not all(isinstance(part, str) for part in context):
        raise BadRowError(f"'{fields.context}' is neither text nor a list of texts")
    return [clean(part) for part in context if part.strip()]
