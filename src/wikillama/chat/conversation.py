"""A conversation with one system or two, and the conversations that a server keeps."""

import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from wikillama.chat.knowledge import Source
from wikillama.generation.streaming import ReplyStats, ReplyStream

_KEPT = 100  # conversations of a server; of more, the one that was silent longest goes
EXCHANGES = 200  # of a conversation; no context reaches so far back


@dataclass
class Reply:
    """A system's side of an exchange, while it is made and after."""

    system: str
    text: str = ""
    status: str = ""  # what is waited for, while there is no text
    error: str = ""
    done: bool = False  # all is there that will be
    sources: list[Source] = field(default_factory=list)
    stats: ReplyStats | None = None
    trace_id: str | None = None  # None: not recorded
    verdict: str | None = None
    thumbs_up: bool | None = None


@dataclass
class Exchange:
    """What the user said, and what one system or two replied."""

    said: str
    topic: str
    replies: list[Reply]
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def heard(self, column: int) -> Reply:
        """The reply in a column; of the first, where the second system was not there yet."""
        return self.replies[min(column, len(self.replies) - 1)]


class Conversation:
    """The exchanges so far. One question at a time: `begin` refuses another."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(16)  # who knows it may read and go on with it
        self.session = uuid.uuid4().hex  # as records name it
        self.exchanges: list[Exchange] = []
        self.left = False  # for another one: whoever still answers need not show it
        self._streams: list[ReplyStream] = []
        self._busy = threading.Lock()
        self._stopped = threading.Event()

    @property
    def busy(self) -> bool:
        return self._busy.locked()

    def begin(self) -> bool:
        """Take the turn to ask; False where an answer is still being made."""
        if not self._busy.acquire(blocking=False):
            return False
        self._stopped.clear()
        return True

    def end(self) -> None:
        self._streams.clear()
        self._busy.release()

    def listen(self, streams: Sequence[ReplyStream]) -> None:
        """Streams that `stop` ends."""
        self._streams.extend(streams)
        if self._stopped.is_set():
            self.stop()

    def stop(self) -> None:
        """End the replies that are being made; what was said of them stays."""
        self._stopped.set()
        for stream in list(self._streams):
            stream.close()

    def find(self, exchange_id: str | None) -> Exchange | None:
        return next((each for each in self.exchanges if each.id == exchange_id), None)

    def history(self, column: int, said: str) -> list[str]:
        """The utterances that a column's system sees, oldest first, `said` last; exchanges without a reply are none."""
        heard = [(each.said, each.heard(column).text) for each in self.exchanges]
        return [*(text for pair in heard if all(pair) for text in pair), said]

    def told(self, column: int) -> list[str]:
        """The sentences of knowledge that the column's replies used."""
        replies = (exchange.heard(column) for exchange in self.exchanges)
        return [source.sentence.text for reply in replies for source in reply.sources if source.used]


class Conversations:
    """Conversations by id, as many as a server keeps."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Conversation] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, id_: str | None) -> Conversation | None:
        with self._lock:
            if id_ is None or id_ not in self._held:
                return None
            self._held.move_to_end(id_)
            return self._held[id_]

    def new(self) -> Conversation:
        conversation = Conversation()
        with self._lock:
            self._held[conversation.id] = conversation
            silent = [id_ for id_, held in self._held.items() if not held.busy and held is not conversation]
            for id_ in silent[: max(0, len(self._held) - _KEPT)]:
                del self._held[id_]
        return conversation

    def __len__(self) -> int:
        return len(self._held)
