"""Streams and turns, with replies that are made by hand: order, waiting, ending, dropping, failing."""

import gc
import threading
from collections.abc import Callable

import pytest

from wikillama.data.encode import Encoded
from wikillama.generation.streaming import Clock, End, ReplyStats, ReplyStream, Turns

PROMPT = Encoded([1, 2, 3], 3)
SOON = 10.0  # seconds, in which everything here has happened long since


class Speaker:
    """Says words, each when it is let; remembers how it ended."""

    def __init__(self, words: int = 3, free: bool = True) -> None:
        self.words, self.said, self.end = words, 0, "never begun"
        self.may_go_on = threading.Semaphore(100 if free else 0)
        self.begun, self.done = threading.Event(), threading.Event()

    def __call__(self, put: Callable[[str], bool]) -> ReplyStats:
        clock, end = Clock(), "length"
        self.begun.set()
        clock.begin()
        for word in clock.counted(range(self.words)):
            assert self.may_go_on.acquire(timeout=SOON)
            self.said += 1
            if not put(f"w{word} "):
                end = "closed"
                break
        self.end = end
        self.done.set()
        return clock.stats(end, PROMPT)  # type: ignore[arg-type]


def test_pieces_come_in_order_and_then_the_stats() -> None:
    stream = ReplyStream(Turns(), Speaker(3))
    assert "".join(stream) == "w0 w1 w2 "
    assert list(stream) == []  # an end stays an end
    stats = stream.stats
    assert stats is not None
    assert (stats.end, stats.tokens, stats.prompt_tokens, stats.cut) == ("length", 3, 3, "nothing")
    assert min(stats.waited_s, stats.first_token_s) >= 0
    assert stats.tokens_per_s > 0


def test_pieces_are_there_before_the_reply_is_done() -> None:
    speaker = Speaker(2, free=False)
    stream = ReplyStream(Turns(), speaker)
    assert not stream.ready(0.05)
    speaker.may_go_on.release()
    assert stream.ready(SOON)
    assert next(stream) == "w0 "
    assert stream.stats is None
    speaker.may_go_on.release()
    assert list(stream) == ["w1 "]


def test_first_come_first_served_and_everybody_sees_where_they_stand() -> None:
    turns, speakers = Turns(), [Speaker(1, free=False) for _ in range(3)]
    streams = [ReplyStream(turns, speaker) for speaker in speakers]
    assert speakers[0].begun.wait(SOON)
    assert [stream.ahead for stream in streams] == [0, 1, 2]
    assert not speakers[1].begun.is_set()
    speakers[0].may_go_on.release()
    assert list(streams[0]) == ["w0 "]
    assert speakers[1].begun.wait(SOON)
    assert [stream.ahead for stream in streams] == [0, 0, 1]
    for speaker in speakers[1:]:
        speaker.may_go_on.release()
    assert [list(stream) for stream in streams[1:]] == [["w0 "], ["w0 "]]
    assert [stream.ahead for stream in streams] == [0, 0, 0]


def test_nobody_waits_for_a_reader_who_does_not_read() -> None:
    turns = Turns()
    unread = ReplyStream(turns, Speaker(50))
    assert list(ReplyStream(turns, Speaker(2))) == ["w0 ", "w1 "]
    assert len(list(unread)) == 50


@pytest.mark.parametrize("how", ["close", "with", "drop"])
def test_a_reply_ends_when_nobody_listens(how: str) -> None:
    speaker = Speaker(50, free=False)
    stream: ReplyStream | None = ReplyStream(Turns(), speaker)
    assert stream is not None
    speaker.may_go_on.release()
    assert next(stream) == "w0 "
    if how == "close":
        stream.close()
        assert list(stream) == []
    elif how == "with":
        with stream:
            pass
    stream = None
    gc.collect()
    speaker.may_go_on.release(10)
    assert speaker.done.wait(SOON)
    assert (speaker.end, speaker.said) == ("closed", 2)  # the word that was being made, and no other


def test_who_goes_before_their_turn_is_never_asked_for() -> None:
    turns, first, second, third = Turns(), Speaker(1, free=False), Speaker(), Speaker(2)
    begun = ReplyStream(turns, first)
    waiting, behind = ReplyStream(turns, second), ReplyStream(turns, third)
    waiting.close()
    assert list(waiting) == []
    assert waiting.stats is None
    assert behind.ahead == 1
    first.may_go_on.release()
    assert list(behind) == ["w0 ", "w1 "]
    assert list(begun) == ["w0 "]
    assert second.end == "never begun"


def test_closing_wakes_a_reader_in_another_thread() -> None:
    speaker = Speaker(1, free=False)
    stream = ReplyStream(Turns(), speaker)
    heard: list[list[str]] = []
    reader = threading.Thread(target=lambda: heard.append(list(stream)))
    reader.start()
    stream.close()
    reader.join(SOON)
    assert heard == [[]]
    speaker.may_go_on.release()


def test_what_goes_wrong_is_raised_where_the_reply_is_read() -> None:
    def broken(put: Callable[[str], bool]) -> ReplyStats:
        put("so far ")
        raise MemoryError("no room")

    turns = Turns()
    stream = ReplyStream(turns, broken)
    assert next(stream) == "so far "
    for _ in range(2):
        with pytest.raises(MemoryError, match="no room"):
            next(stream)
    assert list(ReplyStream(turns, Speaker(1))) == ["w0 "]  # the next one has its turn all the same


@pytest.mark.parametrize("tokens", [0, 1, 2])
def test_speed_is_counted_from_the_second_token(tokens: int) -> None:
    clock, end = Clock(), End.__args__[0]  # type: ignore[attr-defined]
    clock.begin()
    list(clock.counted(range(tokens)))
    stats = clock.stats(end, PROMPT)
    assert stats.tokens == tokens
    assert (stats.tokens_per_s > 0) is (tokens > 1)
