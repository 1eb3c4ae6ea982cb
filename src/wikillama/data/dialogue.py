"""What flows through the data room: dialogues as read, and grounded examples made of them."""

from dataclasses import dataclass
from typing import Literal

from wikillama.errors import InputError

Speaker = Literal["apprentice", "wizard"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance. A Wizard turn that is a `target` is a reply to learn or to be scored on."""

    speaker: Speaker
    text: str
    knowledge: str | None = None  # the sentence that the Wizard chose for this reply; None: none was used
    target: bool = False


def clean(text: str, where: str) -> str:
    """The text without white space around it. Raises InputError for half of a surrogate pair, which no UTF-8 holds."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{where}: half of a surrogate pair (\\ud800 to \\udfff); repair the text")
    return text.strip()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation between an Apprentice, who asks, and a Wizard, who reads Wikipedia (Dinan et al. 2019)."""

    id: str  # of the conversation: rows that were cut out of one conversation share it
    turns: tuple[Turn, ...]
    topic: str | None = None
    persona: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One Wizard reply with what the model may see (`history`, `knowledge`, `topic`, `persona`) and what it may not.

    `gold_knowledge` is the chosen sentence whatever the prompt shows, for knowledge-F1; None where none was used.
    """

    id: str
    dialogue_id: str
    history: tuple[tuple[Speaker, str], ...]
    response: str
    knowledge: tuple[str, ...] = ()
    gold_knowledge: str | None = None
    topic: str | None = None
    persona: str | None = None
