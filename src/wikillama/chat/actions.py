"""What the page does: each method takes what stands in its fields and gives what they show next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gradio as gr

from wikillama.chat.answering import Answering, Question
from wikillama.chat.conversation import Conversation, Conversations, Reply
from wikillama.chat.knowledge import Mode
from wikillama.chat.panel import literal, panel
from wikillama.errors import InputError

Messages = list[dict[str, Any]]
COLUMNS = 2
_SIDES = ("Left: ", "Right: ")


class View(NamedTuple):
    """What a page shows of a conversation: both columns of messages, and what stands beside the chosen exchange."""

    left: Messages
    right: Messages
    beside: str
    verdict_left: str | None
    verdict_right: str | None


@dataclass(frozen=True)
class Actions:
    """`systems` lists what may be talked to, by name; `user` is whose labels are kept."""

    answering: Answering
    systems: Callable[[], dict[str, str]]
    user: str
    conversations: Conversations = field(default_factory=Conversations)

    def conversation(self, id_: str | None) -> Conversation:
        """A conversation that this server has; a new one in place of one that it does not know."""
        return self.conversations.find(id_) or self.conversations.new()

    def take(self, id_: str | None, typed: str) -> tuple[str, str, str]:
        """The conversation's id, what stays in the text box, and what is to be said now; nothing while it is busy."""
        conversation = self.conversation(id_)
        if not typed.strip():
            return conversation.id, "", ""
        if conversation.busy:
            gr.Info("The answer before is not finished. Wait for it, or stop it.")
            return conversation.id, typed, ""
        return conversation.id, "", typed

    def say(
        self,
        id_: str,
        said: str,
        first: str,
        side_by_side: bool,
        second: str | None,
        mode: Mode,
        topic: str,
        pasted: str,
    ) -> Iterator[View]:
        """Answer, and show the answer as it is made."""
        conversation = self.conversation(id_)
        if not said:
            yield self.view(conversation)
            return
        systems = [first, second] if side_by_side and second and second != first else [first]
        known = self.systems()
        try:
            for name in systems:  # by name alone, since a name may be a path
                if name not in known:
                    raise InputError(f"{name}: no such system here")
            question = Question(said, systems, mode, topic, pasted)
            for _ in self.answering.answer(conversation, question):
                yield self.view(conversation)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        yield self.view(conversation)

    def stop(self, id_: str | None) -> None:
        conversation = self.conversations.find(id_)
        if conversation is not None:
            conversation.stop()

    def start_again(self, id_: str | None) -> tuple[str, View]:
        """A new conversation in place of this one."""
        self.stop(id_)
        conversation = self.conversations.new()
        return conversation.id, self.view(conversation)

    def label(self, id_: str, place: int | None, column: int, **label: Any) -> None:
        """Keep a label on the reply in a column of the exchange at `place`, the last one where that is None."""
        conversation = self.conversation(id_)
        reply = _reply(conversation, place, column)
        if reply is None:
            raise gr.Error("There is no reply to label yet.", print_exception=False)
        said = self.answering.label(reply, self.user, **label)
        if not said.startswith("kept"):
            raise gr.Error(said, print_exception=False)
        gr.Info(said, duration=3)

    def view(self, conversation: Conversation, place: int | None = None) -> View:
        exchanges = conversation.exchanges
        shown = len(exchanges) - 1 if place is None else min(place, len(exchanges) - 1)
        beside = panel(0, None)
        verdicts: list[str | None] = [None, None]
        if exchanges:
            replies = exchanges[shown].replies
            several = len(replies) > 1
            beside = "".join(
                panel(shown + 1, reply, _SIDES[column] if several else "") for column, reply in enumerate(replies)
            )
            verdicts = [each.verdict for each in replies] + [None] * (COLUMNS - len(replies))
        beside = f'<div class="beside" tabindex="0">{beside}</div>'  # scrolled by keys, too
        left, right = (_messages(conversation, column) for column in range(COLUMNS))
        return View(left, right, beside, *verdicts)


def _reply(conversation: Conversation, place: int | None, column: int) -> Reply | None:
    exchanges = conversation.exchanges
    if not exchanges or (place is not None and place >= len(exchanges)):
        return None
    replies = exchanges[-1 if place is None else place].replies
    return replies[column] if column < len(replies) else None


def _messages(conversation: Conversation, column: int) -> Messages:
    """A question and a reply for each exchange, so that the place of a message tells the exchange."""
    shown: Messages = []
    for exchange in conversation.exchanges:
        reply = exchange.replies[column] if column < len(exchange.replies) else None
        shown.append({"role": "user", "content": literal(exchange.said)})
        shown.append({"role": "assistant", "content": "(not asked)" if reply is None else literal(_text(reply))})
    return shown


def _text(reply: Reply) -> str:
    if reply.error:
        return f"{reply.text} (no answer: {reply.error})".strip()
    return reply.text or (f"({reply.status} …)" if reply.status else "(no words)" if reply.done else "…")


def exchange_of(index: int | Sequence[int]) -> int:
    """Which exchange the message at a place of a column belongs to."""
    return (index if isinstance(index, int) else index[0]) // 2
