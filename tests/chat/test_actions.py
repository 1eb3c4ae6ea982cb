"""What the page does, without a browser: labels go where one looks, and nothing is lost or mixed up."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wikillama.chat.actions import Actions
from wikillama.chat.answering import LONGEST, Answering
from wikillama.chat.conversation import EXCHANGES, Conversation, Conversations, Exchange, Reply
from wikillama.config.chat import BASE


@pytest.fixture
def actions(answering: Answering, place: Path) -> Actions:
    made = Actions(answering, lambda: {f"{place}/first": "first", BASE: BASE}, "ann")
    made.choices()
    return made


def say(actions: Actions, id_: str, said: str, system: str, mode: Any = "off") -> list[Any]:
    id_, _, now = actions.take(id_, said)
    return [id_, *actions.say(id_, now, system, False, None, mode, "", "")]


def test_labels_go_to_the_exchange_that_is_looked_at(actions: Actions, place: Path) -> None:
    id_, *_ = say(actions, "", "Tea?", f"{place}/first")
    *_, last = say(actions, id_, "Bees?", f"{place}/first")
    conversation = actions.conversations.find(id_)
    assert conversation is not None
    one, two = conversation.exchanges
    assert last.shown["value"] == two.id
    earlier = actions.look(id_, one.id)
    assert earlier.shown["value"] == one.id
    assert "Reply 1" in earlier.beside
    actions.label(id_, earlier.shown["value"], 0, verdict="wrong")
    assert (one.replies[0].verdict, two.replies[0].verdict) == ("wrong", None)
    assert actions.look(id_, one.id).verdict_left == "wrong"
    actions.label(id_, actions.at(id_, 3), 0, thumbs_up=True)
    assert (one.replies[0].thumbs_up, two.replies[0].thumbs_up) == (None, True)
    assert actions.look(id_, one.id).left["feedback_value"] == [None, "Like"]


def test_labels_on_nothing_make_nothing(actions: Actions, place: Path) -> None:
    id_, *_ = say(actions, "", "Tea?", f"{place}/first")
    for known, exchange, column in ((id_, "no such", 0), (id_, None, 0), ("no such", None, 0)):
        assert actions.label(known, exchange, column, verdict="wrong") is None
    conversation = actions.conversations.find(id_)
    assert conversation is not None
    assert actions.label(id_, conversation.exchanges[0].id, 1, verdict="wrong") is None
    assert len(actions.conversations) == 1


def test_what_is_refused_stays_in_the_box(actions: Actions, answering: Answering, place: Path) -> None:
    id_, kept, now = actions.take("", "x" * (LONGEST + 1))
    assert (len(kept), now) == (LONGEST + 1, "")
    slow = replace(actions, answering=replace(answering, max_new_tokens=1000))
    id_, kept, now = slow.take(id_, "Tea?")
    assert (kept, now) == ("", "Tea?")
    talk = slow.say(id_, now, f"{place}/first", False, None, "off", "", "")
    next(talk)
    assert slow.take(id_, "Bees?") == (id_, "Bees?", "")
    talk.close()
    assert slow.take(id_, "Bees?") == (id_, "", "Bees?")


def test_only_systems_that_were_listed_are_asked(actions: Actions, place: Path) -> None:
    id_, *views = say(actions, "", "Tea?", f"{place}/second")  # an adapter on disk, which nobody has offered
    conversation = actions.conversations.find(id_)
    assert conversation is not None
    assert conversation.exchanges == []
    away = replace(actions, systems=dict)  # a store that is away lists nothing
    away.choices()
    say(away, id_, "Tea?", f"{place}/first")
    assert conversation.exchanges[0].replies[0].text
    assert views


def test_a_conversation_that_was_left_shows_no_more(actions: Actions, answering: Answering, place: Path) -> None:
    slow = replace(actions, answering=replace(answering, max_new_tokens=1000))
    id_, _, now = slow.take("", "Tea?")
    talk = slow.say(id_, now, f"{place}/first", False, None, "off", "", "")
    next(talk)
    new, view = slow.start_again(id_)
    assert new == ""
    assert view.left["value"] == []
    assert [each.left["value"] for each in talk] == [[]]


def test_a_page_that_is_opened_again_follows_what_is_still_said(
    actions: Actions, answering: Answering, place: Path
) -> None:
    slow = replace(actions, answering=replace(answering, max_new_tokens=300))
    id_, _, now = slow.take("", "Tea?")
    thread = threading.Thread(target=lambda: list(slow.say(id_, now, f"{place}/first", False, None, "off", "", "")))
    thread.start()
    conversation = slow.conversations.find(id_)
    assert conversation is not None
    while not conversation.busy:
        pass
    views = list(slow.resumed(id_))
    thread.join()
    assert len(views) > 1
    assert views[-1][1].left["value"][1]["content"] == conversation.exchanges[0].replies[0].text
    assert [held for held, _ in slow.resumed("no such")] == [""]
    assert len(slow.conversations) == 1


def test_a_server_keeps_those_that_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wikillama.chat.conversation._KEPT", 3)
    held = Conversations()
    busy = held.new()
    assert busy.begin()
    others = [held.new() for _ in range(4)]
    assert len(held) == 3
    assert held.find(busy.id) is busy
    assert held.find(others[0].id) is None
    assert held.find(others[3].id) is others[3]


def test_a_full_conversation_says_so(answering: Answering, place: Path, actions: Actions) -> None:
    conversation = actions.conversations.new()
    conversation.exchanges += [Exchange("Tea?", "", [Reply(BASE, "Yes.")]) for _ in range(EXCHANGES)]
    say(actions, conversation.id, "More?", f"{place}/first")
    assert len(conversation.exchanges) == EXCHANGES


def test_a_topic_that_is_none_locks_nothing(actions: Actions, place: Path) -> None:
    id_, _, now = actions.take("", "Tea?")
    list(actions.say(id_, now, f"{place}/first", False, None, "off", None, ""))  # type: ignore[arg-type]
    conversation = actions.conversations.find(id_)
    assert conversation is not None
    assert conversation.exchanges[0].replies[0].text
    assert not conversation.busy


def test_an_empty_conversation_has_a_view(actions: Actions) -> None:
    view = actions.view(Conversation())
    assert view.left["value"] == view.right["value"] == []
    assert view.shown["value"] is None
