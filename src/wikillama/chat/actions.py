"""What the page does: each method takes what stands in its fields and gives what they show next."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gradio as gr

from wikillama.chat.answering import LONGEST, Answering, Question
from wikillama.chat.conversation import Conversation, Conversations, Exchange, Reply
from wikillama.chat.knowledge import Mode
from wikillama.chat.panel import literal, panel
from wikillama.errors import InputError

COLUMNS = 2
_SIDES = ("Left: ", "Right: ")
_THUMBS = {True: "Like", False: "Dislike", None: None}
_LISTED = 40  # characters of a question in the list of replies
_GLANCE = 0.3  # seconds between two looks at a reply that somebody else makes

Update = dict[str, Any]


class View(NamedTuple):
    """What a page shows of a conversation: both columns, which exchange is looked at, and what stands beside that."""

    left: Update
    right: Update
    shown: Update
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
    offered: set[str] = field(default_factory=set)  # what was ever listed: the store may be away for a while

    def choices(self) -> list[tuple[str, str]]:
        """Labels and names of the systems that there are now."""
        names = self.systems()
        self.offered.update(names)
        return [(label, name) for name, label in names.items()]

    def take(self, id_: str | None, typed: str) -> tuple[str, str, str]:
        """The conversation's id, what stays in the text box, and what is to be said now; nothing while it is busy."""
        conversation = self.conversations.find(id_) or self.conversations.new()
        if not typed.strip():
            return conversation.id, "", ""
        if len(typed) > LONGEST:
            gr.Warning(f"{len(typed):,} characters are too many at once; say it in {LONGEST:,}.")
            return conversation.id, typed, ""
        if conversation.busy:
            gr.Info("The answer before is not finished. Wait for it, or stop it.")
            return conversation.id, typed, ""
        return conversation.id, "", typed

    def say(
        self, id_: str, said: str, first: str, both: bool, second: str | None, mode: Mode, topic: str, pasted: str
    ) -> Iterator[View]:
        """Answer, and show the answer as it is made."""
        conversation = self.conversations.find(id_)
        if not said or conversation is None:
            return
        systems = [first, second] if both and second and second != first else [first]
        try:
            for name in systems:  # by name alone, since a name may be a path
                if name not in self.offered:
                    raise InputError("There is no such system here.")
            for _ in self.answering.answer(conversation, Question(said, systems, mode, topic, pasted)):
                if conversation.left:  # for a new one; gradio shows what was yielded last once more
                    yield self.view(Conversation())
                    return
                yield self.view(conversation)
        except InputError as error:
            gr.Warning(str(error))
        yield self.view(conversation)

    def stop(self, id_: str | None) -> None:
        conversation = self.conversations.find(id_)
        if conversation is not None:
            conversation.stop()

    def start_again(self, id_: str | None) -> tuple[str, View]:
        """No conversation in place of this one; the next question begins one."""
        conversation = self.conversations.find(id_)
        if conversation is not None:
            conversation.left = True
            conversation.stop()
        return "", self.view(Conversation())

    def resumed(self, id_: str | None) -> Iterator[tuple[str, View]]:
        """The conversation of a page that was opened again, and what is still said in it."""
        conversation = self.conversations.find(id_)
        if conversation is None:
            yield "", self.view(Conversation())
            return
        while conversation.busy:
            yield conversation.id, self.view(conversation)
            time.sleep(_GLANCE)
        yield conversation.id, self.view(conversation)

    def look(self, id_: str | None, exchange_id: str | None) -> View:
        """The same conversation with another exchange looked at."""
        conversation = self.conversations.find(id_) or Conversation()
        return self.view(conversation, conversation.find(exchange_id))

    def at(self, id_: str | None, message: int) -> str | None:
        """The id of the exchange that the message at a place of a column belongs to."""
        conversation = self.conversations.find(id_) or Conversation()
        place = message // 2
        return conversation.exchanges[place].id if place < len(conversation.exchanges) else None

    def label(self, id_: str | None, exchange_id: str | None, column: int, **label: Any) -> Reply | None:
        """Keep a label on the reply in a column of an exchange, and give that reply; None where there is none."""
        conversation = self.conversations.find(id_)
        exchange = None if conversation is None else conversation.find(exchange_id)
        if exchange is None or column >= len(exchange.replies):
            gr.Warning("There is no such reply to label.")
            return None
        reply = exchange.replies[column]
        said = self.answering.label(reply, self.user, **label)
        (gr.Info if said.startswith("kept") else gr.Warning)(said, duration=4)
        return reply

    def view(self, conversation: Conversation, looked_at: Exchange | None = None) -> View:
        exchanges = conversation.exchanges
        shown = looked_at or (exchanges[-1] if exchanges else None)
        left, right = (_column(conversation, column) for column in range(COLUMNS))
        listed = [(f"{n}: {each.said[:_LISTED]}", each.id) for n, each in enumerate(exchanges, 1)]
        chosen = gr.update(choices=listed, value=None if shown is None else shown.id)
        if shown is None:
            return View(left, right, chosen, _region(panel(0, None)), None, None)
        number, several = exchanges.index(shown) + 1, len(shown.replies) > 1
        panels = [panel(number, r, _SIDES[place] if several else "") for place, r in enumerate(shown.replies)]
        verdicts = [reply.verdict for reply in shown.replies] + [None] * (COLUMNS - len(shown.replies))
        return View(left, right, chosen, _region("".join(panels)), verdicts[0], verdicts[1])


def _region(html: str) -> str:
    """What stands beside a reply, to be scrolled by keys, too."""
    return f'<div class="beside" role="region" aria-label="Knowledge" tabindex="0">{html}</div>'


def _column(conversation: Conversation, column: int) -> Update:
    """A question and a reply for each exchange, so that the place of a message tells the exchange; and the thumbs."""
    messages, thumbs = [], []
    for exchange in conversation.exchanges:
        reply = exchange.replies[column] if column < len(exchange.replies) else None
        messages.append({"role": "user", "content": literal(exchange.said)})
        messages.append({"role": "assistant", "content": "(not asked)" if reply is None else literal(_text(reply))})
        thumbs.append(None if reply is None else _THUMBS[reply.thumbs_up])
    return gr.update(value=messages, feedback_value=thumbs)  # type: ignore[no-any-return]


def _text(reply: Reply) -> str:
    if reply.error:
        return f"{reply.text} (no answer: {reply.error})".strip()
    return reply.text or (f"({reply.status} …)" if reply.status else "(no words)" if reply.done else "…")
