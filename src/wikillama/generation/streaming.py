"""Replies as streams: text as it is made, one reply after the other, whoever asks."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

from wikillama.data.encode import Cut, Encoded

End = Literal["stop", "length", "repetition", "closed"]


@dataclass(frozen=True, slots=True)
class ReplyStats:
    """How a reply went. Seconds count from when its turn came; how long that took is `waited_s`."""

    end: End  # the end token; the most tokens; running in circles; nobody listened any more
    prompt_tokens: int
    cut: Cut  # what of the conversation did not fit
    tokens: int  # the end token among them
    waited_s: float
    first_token_s: float
    tokens_per_s: float  # after the first token; 0 where there is no second one


Writer = Callable[[Callable[[str], bool]], ReplyStats]  # gives pieces to a function that says whether to go on


class Turns:
    """First come, first served: one thread makes all replies of a model.

    The same thread each time, since every thread that computes brings along a team of OpenMP threads of its own.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="replies")
        self._lock = threading.Lock()
        self._open: list[Future[None]] = []  # in the order of their turns

    def queue(self, job: Callable[[], None]) -> "Future[None]":
        with self._lock:
            self._open = [future for future in self._open if not future.done()]
            future = self._thread.submit(job)
            self._open.append(future)
        return future

    def close(self) -> None:
        """Give up all jobs that have not begun."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def ahead(self, future: "Future[None]") -> int:
        """How many jobs come to their end before `future` has its turn."""
        with self._lock:
            before = self._open[: self._open.index(future)] if future in self._open else []
        return sum(not each.done() for each in before)


class ReplyStream(Iterator[str]):
    """Text pieces of one reply; `"".join(stream)` is the reply.

    The reply is made by another thread, so that a slow reader holds up nobody. Closing the stream, leaving its `with`
    block or dropping it ends the reply before its next token, or takes it out of the queue.
    """

    def __init__(self, turns: Turns, write: Writer) -> None:
        """`write` makes the reply when its turn has come."""
        self._turns = turns
        self._state = _State()
        self._turn = turns.queue(_job(write, self._state))

    def __next__(self) -> str:
        piece = self._state.pieces.get()
        if piece is not None and not self._state.closed.is_set():
            return piece
        self._state.pieces.put(None)  # whoever asks again hears the same
        if self._state.error is not None:
            raise self._state.error
        raise StopIteration

    def ready(self, timeout: float) -> bool:
        """Wait for the first piece or the end, at most `timeout` seconds; say whether it has come."""
        return self._state.begun.wait(timeout)

    @property
    def ahead(self) -> int:
        """How many other replies come first."""
        return self._turns.ahead(self._turn)

    @property
    def stats(self) -> ReplyStats | None:
        """None until the reply is done, and where it was closed before its turn."""
        return self._state.stats

    def settled(self, timeout: float) -> ReplyStats | None:
        """`stats`, waited for at most `timeout` seconds: a reply that was closed still makes its next token."""
        wait([self._turn], timeout)
        return self._state.stats

    def close(self) -> None:
        """End the reply; may be called at any time, from any thread."""
        self._state.closed.set()
        self._turn.cancel()
        self._state.end()

    def __enter__(self) -> "ReplyStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._state.closed.set()
        self._turn.cancel()


class _State:
    """What the reader and the thread share; the thread must not hold the stream, or dropping it would go unseen."""

    def __init__(self) -> None:
        self.pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.begun, self.closed = threading.Event(), threading.Event()
        self.stats: ReplyStats | None = None
        self.error: Exception | None = None

    def put(self, piece: str) -> bool:
        if piece:
            self.pieces.put(piece)
            self.begun.set()
        return not self.closed.is_set()

    def end(self) -> None:
        self.pieces.put(None)
        self.begun.set()


def _job(write: Writer, state: _State) -> Callable[[], None]:
    def job() -> None:
        try:
            state.stats = write(state.put)
        except Exception as error:  # raised again where the reply is read
            state.error = error
        finally:
            state.end()

    return job


class Clock:
    """Times a reply from when it is asked for, and keeps its tokens."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._asked = time.perf_counter()
        self._begun = self._first = self._last = self._asked

    def begin(self) -> None:
        """Its turn has come."""
        self._begun = self._first = self._last = time.perf_counter()

    def counted(self, tokens: Iterable[int]) -> Iterator[int]:
        """The same tokens, each noted as it comes."""
        for token in tokens:
            self._last = time.perf_counter()
            if not self.tokens:
                self._first = self._last
            self.tokens.append(token)
            yield token

    def stats(self, end: End, prompt: Encoded) -> ReplyStats:
        more = len(self.tokens) - 1
        return ReplyStats(
            end=end,
            prompt_tokens=len(prompt.input_ids),
            cut=prompt.cut,
            tokens=len(self.tokens),
            waited_s=self._begun - self._asked,
            first_token_s=self._first - self._begun,
            tokens_per_s=more / (self._last - self._first) if more > 0 else 0.0,
        )
