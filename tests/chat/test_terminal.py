"""The conversation in a terminal, typed and read back."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wikillama.chat.answering import Answering
from wikillama.chat.terminal import Terminal
from wikillama.config.chat import BASE


@pytest.fixture
def typed(answering: Answering, place: Path) -> Callable[..., tuple[Terminal, str]]:
    """`typed("Tea?", "/correct")`: the terminal after these lines and the end of the input, and what it printed."""

    def talk(*lines: str, systems: tuple[str, ...] = (f"{place}/first",), mode: Any = "retrieved") -> Any:
        left = iter(lines)

        def ask(_: str) -> str:
            try:
                line = next(left)
            except StopIteration:
                raise EOFError from None
            if line == "^C":
                raise KeyboardInterrupt
            return line

        out = io.StringIO()
        terminal = Terminal(answering, Console(file=out, width=200), systems, mode, "ann", ask)
        terminal.talk()
        return terminal, out.getvalue()

    return talk


def test_a_reply_and_what_it_stands_on(typed: Callable[..., Any]) -> None:
    terminal, out = typed("How many flowers does a bee visit?", "")
    reply = terminal.conversation.exchanges[0].replies[0]
    assert out.count(reply.text) == 1
    assert "Honey bee: A bee visits 1,500 flowers a day.  [bee.md]" in out
    assert "tokens/s" in out
    assert len(terminal.conversation.exchanges) == 1


def test_markup_is_text(typed: Callable[..., Any]) -> None:
    _, out = typed("/mine A [bold]sentence[/bold] of [link=x]mine[/link].", "What is it?")
    assert "A [bold]sentence[/bold] of [link=x]mine[/link].  [pasted]" in out


def test_two_systems_and_labels(typed: Callable[..., Any], place: Path) -> None:
    terminal, out = typed(
        "/off", f"/with {place}/first {BASE}", "Tea?", "/wrong", "/right /correct", "/right /up", "/topic Tea", "More?"
    )  # fmt: skip
    first, second = terminal.conversation.exchanges[0].replies
    assert out.count(f"{place}/first:\n") == out.count(f"{BASE}:\n") == 2
    assert out.index(first.text) < out.index(f"{BASE}:") < out.index(second.text)
    assert (first.verdict, second.verdict, second.thumbs_up) == ("wrong", "correct", True)
    assert out.count("kept: ") == 3
    assert terminal.conversation.exchanges[1].topic == "Tea"
    assert first.sources == []


def test_what_cannot_be_done_is_said(typed: Callable[..., Any]) -> None:
    terminal, out = typed(
        "/correct", "/nonsense", "/with", "/with a b c", "/with no/such", "/mine", "x" * 9000, "/help", "/new", "/quit",
        "Tea?",
    )  # fmt: skip
    for said in (
        "there is no such reply to label yet", "/nonsense: no such command", "/with: name one system",
        "no/such: neither models:/", "/mine: give the text", "9,000 characters are too many", "/knowledge ",
    ):  # fmt: skip
        assert said in out
    assert terminal.conversation.exchanges == []


def test_an_interrupt_at_the_prompt_ends_it(typed: Callable[..., Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        typed("^C")
