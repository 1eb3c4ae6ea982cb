"""The conversation in a terminal: one types, the reply comes as it is made, and what it stands on below it."""

import unicodedata
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from wikillama.chat.answering import Answering, Question
from wikillama.chat.conversation import Conversation, Reply
from wikillama.chat.knowledge import Mode
from wikillama.chat.panel import timing
from wikillama.errors import InputError
from wikillama.tracking.review.queues import VERDICTS

_HELP = """/knowledge          look knowledge up for each reply
/off                answer without
/mine TEXT          answer from this text
/topic TEXT         what it is about; without TEXT: nothing in particular
/with NAME ...      talk to models:/NAME@ALIAS, a folder, base; two of them answer side by side
/correct /wrong /ambiguous /up /down   label the last reply; /right before it labels the second one's
/new                a new conversation
/quit               or Ctrl-D"""
_ALL = -1  # printed, and what stands below it


class Terminal:
    """A conversation over standard input; whatever does not begin with / is said."""

    def __init__(
        self,
        answering: Answering,
        console: Console,
        systems: Sequence[str],
        mode: Mode,
        user: str,
        ask: Callable[[str], str] = input,
    ) -> None:
        self.answering, self.console, self.user, self._ask = answering, console, user, ask
        self.systems, self.mode, self.topic, self.pasted = list(systems), mode, "", ""
        self.conversation = Conversation()
        self._places = {"/knowledge": "retrieved", "/off": "off", "/mine": "mine"}

    def talk(self) -> None:
        """Until /quit, or the end of the input."""
        self.console.print(f"{', '.join(self.systems)}; /help says what else can be typed, /quit ends it", markup=False)
        while True:
            try:
                typed = self._ask("> ").strip()
            except EOFError:
                return
            if typed == "/quit":
                return
            try:
                if typed.startswith("/"):
                    self.command(typed)
                elif typed:
                    self.say(typed)
            except InputError as error:
                self._note(str(error))
            except KeyboardInterrupt:  # while a reply is made: that one ends
                self.console.print()

    def say(self, said: str) -> None:
        """Ask, and print the replies one below the other, each with what it stands on."""
        question = Question(said, self.systems, self.mode, self.topic, self.pasted)
        printed: dict[int, int] = {}  # by column, characters
        status = ""
        answer = self.answering.answer(self.conversation, question)
        try:
            for exchange in answer:
                for column, reply in enumerate(exchange.replies):
                    if reply.status not in ("", status):
                        self._note(f"({reply.status} …)")
                    status = reply.status or status
                    if printed.get(column) != _ALL:
                        self._print(column, reply, printed)
        finally:
            answer.close()  # ends the replies, where the user has interrupted them

    def _print(self, column: int, reply: Reply, printed: dict[int, int]) -> None:
        """What of a reply has come since the last time."""
        if column not in printed:
            if not (reply.text or reply.done):
                return
            printed[column] = 0
            if len(self.systems) > 1:
                self._note(f"{reply.system}:")
        new = _without_controls(reply.text[printed[column] :])
        self.console.print(new, end="", markup=False, highlight=False, soft_wrap=True)
        printed[column] = len(reply.text)
        if reply.done:
            printed[column] = _ALL
            self.console.print()
            self._below(reply)

    def _below(self, reply: Reply) -> None:
        if reply.error:
            self._note(reply.error)
        for source in reply.sources:
            title = f"{source.sentence.title}: " if source.sentence.title else ""
            self._note(f"  {'*' if source.used else ' '} {title}{source.sentence.text}  [{source.place}]")
        self._note(f"  {timing(reply)}")

    def _note(self, text: str) -> None:
        self.console.print(Text(_without_controls(text), style="dim"), soft_wrap=True)

    def command(self, typed: str) -> None:
        """Do what a line that begins with / says. Raises InputError for what there is not."""
        name, _, rest = typed.partition(" ")
        if name in self._places:
            if name == "/mine" and not rest.strip():
                raise InputError("/mine: give the text to answer from behind it")
            self.mode, self.pasted = self._places[name], rest  # type: ignore[assignment]
        elif name == "/topic":
            self.topic = rest.strip()
        elif name == "/with":
            self._talk_with(rest.split())
        elif name == "/new":
            self.conversation = Conversation()
        elif name == "/help":
            self.console.print(_HELP, markup=False)
        else:
            self._label(typed.split())

    def _talk_with(self, names: list[str]) -> None:
        if not 1 <= len(set(names)) == len(names) <= 2:
            raise InputError("/with: name one system, or two different ones")
        for name in names:
            self.answering.systems.load(name)
        self.systems = names

    def _label(self, words: list[str]) -> None:
        column = 1 if words[0] == "/right" else 0
        label = words[column].strip("/") if column < len(words) else ""
        if label not in (*VERDICTS, "up", "down"):
            raise InputError(f"{' '.join(words)}: no such command; /help lists them")
        replies = self.conversation.exchanges[-1].replies if self.conversation.exchanges else []
        if column >= len(replies):
            raise InputError("there is no such reply to label yet")
        given = {"thumbs_up": label == "up"} if label in ("up", "down") else {"verdict": label}
        self._note(self.answering.label(replies[column], self.user, **given))  # type: ignore[arg-type]


def _without_controls(text: str) -> str:
    """Text that commands the terminal to nothing: a model or an article may hold escape sequences."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
