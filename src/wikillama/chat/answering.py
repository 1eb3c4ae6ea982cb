"""An exchange, from question to labelled reply: knowledge looked up, replies streamed and recorded, labels kept."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from wikillama.chat.conversation import EXCHANGES, Conversation, Exchange, Reply
from wikillama.chat.knowledge import Knowledge, Mode, used
from wikillama.chat.systems import Systems
from wikillama.config.paths import without_secrets
from wikillama.errors import InputError
from wikillama.generation.decoding import GREEDY, Sampling
from wikillama.generation.streaming import ReplyStream
from wikillama.tracking.reply_traces import THUMBS, VERDICT, ReplyTraces, Spoken

LONGEST = 8_000  # characters of an utterance
_LOOK = 0.2  # seconds between two looks at the queue
_LAST = 5.0  # seconds that the last token of a reply that was stopped may take

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What the user says, to whom, and the knowledge that is wanted for the answer."""

    said: str
    systems: Sequence[str]
    mode: Mode = "retrieved"
    topic: str = ""
    pasted: str = ""


@dataclass(frozen=True)
class Answering:
    """What all conversations share. `traces` is None where nothing is recorded."""

    systems: Systems
    knowledge: Knowledge
    traces: ReplyTraces | None = None
    max_new_tokens: int | None = None
    sampling: Sampling = GREEDY

    def answer(self, conversation: Conversation, question: Question) -> Generator[Exchange, None, None]:
        """Answer in the conversation; the exchange is yielded each time that something of it has changed.

        Closing the iterator ends the replies. Raises InputError, and leaves the conversation as it is, for nothing
        said, too much of it, or while another answer is being made; what goes wrong later stands in the replies.
        """
        said = question.said.strip()
        if not said:
            raise InputError("say something first")
        if len(said) > LONGEST:
            raise InputError(f"{len(said):,} characters are too many at once; say it in {LONGEST:,}")
        if len(conversation.exchanges) >= EXCHANGES:
            raise InputError(f"this conversation has {EXCHANGES} exchanges; begin a new one")
        streams: list[ReplyStream] = []
        exchange = Exchange(said, (question.topic or "").strip(), [Reply(name) for name in question.systems])
        if not conversation.begin():
            raise InputError("the answer before is not finished; wait for it, or stop it")
        try:
            asked = [_Asked(reply, conversation, column, said) for column, reply in enumerate(exchange.replies)]
            conversation.exchanges.append(exchange)
            for reply in exchange.replies:
                reply.status = "looking knowledge up" if question.mode == "retrieved" else ""
            yield exchange
            for each in asked:
                each.stream = self._begin(each, exchange, question)
            streams += [each.stream for each in asked if each.stream is not None]
            conversation.listen(streams)
            for each in asked:
                if each.stream is not None:
                    yield from (exchange for _ in self._made(each.reply, each.stream))
                    self._finish(conversation, exchange, each)
                each.reply.done = True
                yield exchange
        finally:
            for stream in streams:
                stream.close()
            for reply in exchange.replies:
                reply.status, reply.done = "", True
            conversation.end()

    def _begin(self, asked: "_Asked", exchange: Exchange, question: Question) -> ReplyStream | None:
        reply, topic = asked.reply, exchange.topic or None
        try:
            reply.sources = self.knowledge.sources(question.mode, topic, asked.history, asked.told, question.pasted)
            speaker = self.systems.speaker(reply.system)
            asked.fingerprint = speaker.fingerprint
            return speaker.stream(
                asked.history,
                [source.sentence for source in reply.sources],
                topic,
                max_new_tokens=self.max_new_tokens,
                sampling=self.sampling,
            )
        except Exception as error:
            reply.error = _said_of(error)
            return None

    def _made(self, reply: Reply, stream: ReplyStream) -> Iterator[None]:
        """Fill in a reply, a step at each turn."""
        while not stream.ready(_LOOK):
            status = _waiting(stream.ahead, self.systems.loading)
            if status != reply.status:
                reply.status = status
                yield
        reply.status = ""
        try:
            for piece in stream:
                reply.text += piece
                yield
        except Exception as error:
            reply.error = _said_of(error)
        reply.stats = stream.settled(_LAST)

    def _finish(self, conversation: Conversation, exchange: Exchange, asked: "_Asked") -> None:
        reply = asked.reply
        if not reply.text:
            return
        marks = used(reply.text, [source.sentence.text for source in reply.sources], exchange.said)
        reply.sources = [replace(source, used=mark) for source, mark in zip(reply.sources, marks, strict=True)]
        if self.traces is None or reply.stats is None:
            return
        knowledge = [
            {"text": source.sentence.text, "title": source.sentence.title, "from": source.place, "used": source.used}
            for source in reply.sources
        ]
        spoken = Spoken(
            conversation.session,
            reply.system,
            asked.fingerprint,
            asked.history,
            exchange.topic,
            knowledge,
            reply.text,
            reply.stats,
        )
        reply.trace_id = _kept(partial(self.traces.log, spoken))

    def label(self, reply: Reply, user: str, *, verdict: str | None = None, thumbs_up: bool | None = None) -> str:
        """Keep what a person thinks of a reply as HUMAN feedback on its trace; says what was done, or why not."""
        if self.traces is None or reply.trace_id is None:
            return "this reply was not recorded, so it cannot be labelled"
        name, value = (VERDICT, verdict) if verdict is not None else (THUMBS, bool(thumbs_up))
        if not _kept(partial(self.traces.label, reply.trace_id, name, value, user)):
            return "the label could not be written; the terminal says why"
        if verdict is not None:
            reply.verdict = verdict
            return f"kept: {verdict}"
        reply.thumbs_up = thumbs_up
        return f"kept: thumbs {'up' if thumbs_up else 'down'}"


class _Asked:
    """A reply that is asked for, and what its system sees of the conversation before it."""

    def __init__(self, reply: Reply, conversation: Conversation, column: int, said: str) -> None:
        self.reply = reply
        self.history = conversation.history(column, said)
        self.told = conversation.told(column)
        self.fingerprint = ""
        self.stream: ReplyStream | None = None


def _said_of(error: Exception) -> str:
    """What a reply says of an error: the line that is for users, or the kind of what is ours, with a log."""
    if isinstance(error, InputError):
        return str(error)
    log.error("a reply failed", exc_info=error)
    return f"{type(error).__name__}: {error}"


def _kept(write: Callable[[], str]) -> str | None:
    """What a store answers; None where it does not, which must not end a conversation."""
    try:
        return write()
    except Exception as error:  # the store's driver may raise anything
        log.warning("not recorded: %s", without_secrets(" ".join(str(error).split())))
        return None


def _waiting(ahead: int, loading: str | None) -> str:
    """What a reply waits for: jobs that come first, of which one may be loading a system."""
    replies = ahead - (loading is not None)
    before = f"{replies} {'reply' if replies == 1 else 'replies'} before this one" if replies > 0 else ""
    if loading is not None:
        return f"loading {loading}" + (f", then {before}" if before else "")
    return f"waiting: {before}" if before else "reading"
