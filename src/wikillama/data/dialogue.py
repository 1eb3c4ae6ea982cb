"""What flows through the data room: dialogues as read, and grounded examples made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from wikillama.errors import InputError

Speaker = Literal["apprentice", "wizard"]


class Passage(NamedTuple):
    """A stretch of an article, in sentences."""

    title: str
    sentences: tuple[str, ...]


class Sentence(NamedTuple):
    """A sentence of knowledge, and the article that it is known to stand in."""

    title: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance. A Wizard turn that is a `target` is a reply to learn or to be scored on."""

    speaker: Speaker
    text: str
    knowledge: str | None = None  # the sentence that the Wizard chose for this reply; None: none was used
    target: bool = False
    passages: tuple[Passage, ...] = ()  # fetched with this very utterance as the query


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation between an Apprentice, who asks, and a Wizard, who reads Wikipedia (Dinan et al. 2019)."""

    id: str
    turns: tuple[Turn, ...]
    topic: str | None = None
    persona: str | None = None
    topic_passage: Passage | None = None  # of the chosen topic's article


@dataclass(frozen=True, slots=True)
class Example:
    """One Wizard reply with what the model may see (`history`, `knowledge`, `topic`, `persona`) and what it may not.

    `gold_knowledge` is the chosen sentence whatever the prompt shows, for knowledge-F1; None where none was used.
    """

    id: str
    dialogue_id: str
    history: tuple[tuple[Speaker, str], ...]
    response: str
    knowledge: tuple[Sentence, ...] = ()
    gold_knowledge: str | None = None
    topic: str | None = None
    persona: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a corpus that cannot be used: where it stands, what is wrong with it, and its bytes."""

    where: str
    reason: str
    raw: bytes


class BadRowError(Exception):
    """Raised inside a reader for a row that cannot be used; readers turn it into a `BadRow`."""


OnBadRow = Callable[[BadRow], None]


def refuse(row: BadRow) -> None:
    """What readers do with a bad row unless told otherwise. Raises InputError."""
    raise InputError(f"{row.where}: {row.reason} (data.on_bad_row=skip goes on without such rows)")


def clean(text: str) -> str:
    """The text without white space around it. Raises BadRowError for half of a surrogate pair, which no UTF-8 holds."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRowError("half of a surrogate pair (\\ud800 to \\udfff); repair the text") from error
    return text.strip()
