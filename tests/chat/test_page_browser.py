"""The page in a headless browser that reaches this machine alone, used as a person would."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browsing import NO_BROWSER, Page, opened_browser
from fastapi import FastAPI
from mlflow.tracing.client import TracingClient

from wikillama.chat.actions import Actions
from wikillama.chat.answering import Answering
from wikillama.chat.knowledge import Knowledge
from wikillama.chat.page import create_page
from wikillama.chat.systems import Systems
from wikillama.config.chat import BASE
from wikillama.data.retrieval.build import open_index
from wikillama.jobs.chat import names
from wikillama.jobs.chat_page import mount
from wikillama.tracking.reply_traces import ReplyTraces

pytestmark = pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))
SOON = 60.0  # seconds
BEES = "How many flowers does a bee visit?"
PHONE = 390  # pixels
STORY = "Tell me a long story of a hundred sentences about a fox, a bear and their house in the woods."


class App:
    """The page on a port of this machine, and what is behind it."""

    def __init__(self, cfg: Any, second: str | None) -> None:
        knowledge = Knowledge(lambda: open_index(cfg.retriever, cfg.cache_dir), cfg.knowledge.k)
        self.answering = Answering(Systems(cfg), knowledge, ReplyTraces(cfg.tracking), cfg.max_new_tokens)
        self.actions = Actions(self.answering, lambda: names(cfg) | {str(second): "second"}, cfg.user)
        app = FastAPI()
        mount(app, create_page(self.actions, cfg.adapter, None, "retrieved"))
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        until(lambda: self.server.started)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    @property
    def conversation(self) -> Any:
        """The one that was begun last; None before."""
        return next(reversed(self.actions.conversations._held.values()), None)

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(SOON)


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + SOON
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def app(chat_config: Callable[..., Any], place: Path) -> Iterator[App]:
    app = App(chat_config(), f"{place}/second")
    try:
        yield app
    finally:
        app.close()


@pytest.fixture(scope="module")
def slow(chat_config: Callable[..., Any]) -> Iterator[App]:
    """A page whose replies take long, by a real model."""
    app = App(chat_config("max_new_tokens=1000", real=True), None)
    try:
        yield app
    finally:
        app.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened_browser(tmp_path_factory.mktemp("chromium"), (1400, 900)) as driver:
        yield driver


@pytest.fixture
def page(browser: Any, app: App) -> Page:
    return fresh(browser, app)


def fresh(browser: Any, app: App) -> Page:
    """The page with a new conversation, the only one."""
    browser.get("about:blank")
    app.actions.conversations._held.clear()
    browser.get(app.url)
    page = Page(browser)
    page.wait("#message textarea")
    return page


def say(page: Page, said: str) -> None:
    from selenium.webdriver.common.keys import Keys

    box = page.wait("#message textarea")
    box.send_keys(said)
    box.send_keys(Keys.ENTER)


def begun(page: Page, slow: App) -> Any:
    """A long reply of which something is there."""
    say(page, STORY)
    return until(
        lambda: (
            slow.conversation and next((e.replies[0] for e in slow.conversation.exchanges if e.replies[0].text), None)
        )
    )


def answered(page: Page, app: App, number: int) -> Any:
    """The exchange of a number, when all of it is there and shown."""
    exchange = until(lambda: app.conversation and dict(enumerate(app.conversation.exchanges, 1)).get(number))
    until(lambda: all(reply.done for reply in exchange.replies))
    page.wait("#sources", f"Reply {number}")
    for reply in exchange.replies:
        page.wait("#sources", "to the first token")
        page.wait("#left" if reply is exchange.replies[0] else "#right", reply.text)
    until(lambda: not app.conversation.busy)
    return exchange


def test_ask_switch_compare_label_reload(page: Page, app: App, place: Path) -> None:
    say(page, BEES)
    first = answered(page, app, 1).replies[0]
    assert first.system == f"{place}/first"
    assert "A bee visits 1,500 flowers a day." in page.wait("#sources li").text
    assert page.wait("#message textarea").get_attribute("value") == ""

    page.click("#system input")
    page.click("[role=option]", "second")
    page.wait("#topic input, #topic textarea").send_keys("Tea")
    say(page, "And what is tea?")
    exchange = answered(page, app, 2)
    assert exchange.replies[0].system == f"{place}/second"
    assert exchange.topic == "Tea"

    page.click("#both input")
    page.click("#other input")
    page.click("[role=option]", BASE)
    say(page, "Both of you: who drank it?")
    exchange = answered(page, app, 3)
    assert [reply.system for reply in exchange.replies] == [f"{place}/second", BASE]
    page.wait("#sources", "Right: Reply 3")

    page.click("#verdict_left label", "wrong")
    page.click("#verdict_right label", "correct")
    until(lambda: exchange.replies[1].verdict)
    assert [reply.verdict for reply in exchange.replies] == ["wrong", "correct"]
    page.browser.find_elements("css selector", "#right button[title='Like']")[-1].click()
    until(lambda: exchange.replies[1].thumbs_up)
    traces: TracingClient = app.answering.traces._client  # type: ignore[union-attr]
    found = traces.get_trace_info(exchange.replies[1].trace_id).assessments
    assert {(each.source.source_type, each.source.source_id) for each in found} == {("HUMAN", "ann")}
    assert ("verdict", "correct") in {(each.name, each.value) for each in found}

    page.browser.refresh()
    page.wait("#left", exchange.replies[0].text)
    page.wait("#left", first.text)
    assert page.wait("#sources", "Reply 3")
    assert not page.browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.includes('127.0.0.1'))"
    )  # fmt: skip


def test_an_earlier_reply_shows_what_it_stood_on(page: Page, app: App) -> None:
    say(page, BEES)
    answered(page, app, 1)
    say(page, "What is tea made from?")
    exchange = answered(page, app, 2)
    page.click("#left .bot", app.conversation.exchanges[0].replies[0].text)
    page.wait("#sources", "Reply 1")
    page.click("#verdict_left label", "ambiguous")
    until(lambda: app.conversation.exchanges[0].replies[0].verdict == "ambiguous")
    assert exchange.replies[0].verdict is None
    page.click("#reply input")  # by keys, too
    page.click("[role=option]", "2: What is tea made from?")
    page.wait("#sources", "Reply 2")
    page.click("#verdict_left label", "wrong")
    page.click("#verdict_left label", "correct")  # before the other is written
    until(lambda: exchange.replies[0].verdict == "correct")


def test_a_new_conversation_is_not_haunted_by_the_one_before(browser: Any, slow: App) -> None:
    page = fresh(browser, slow)
    reply = begun(page, slow)
    before = slow.conversation
    page.click("#again")
    until(lambda: reply.done)
    page.wait("#sources", "What replies stand on")
    time.sleep(1.0)
    assert page.wait("#left").text == "Ask something."
    assert page.wait("#sources", "What replies stand on")
    say(page, "Hello!")
    until(lambda: slow.conversation is not before)


@pytest.mark.parametrize(
    "evil", ["<script>document.title = 'taken'</script>", "<img src=x onerror=\"document.title='taken'\">"]
)
def test_markup_shows_as_text(page: Page, app: App, evil: str) -> None:
    title = page.browser.title
    page.click("#knowledge label", "mine")
    page.wait("#pasted textarea").send_keys(f"Markup: {evil} and **stars** are words.")
    say(page, f"What is {evil} and **stars**?")
    answered(page, app, 1)
    page.wait("#left", f"What is {evil} and **stars**?")
    page.wait("#sources", f"Markup: {evil} and **stars** are words.")
    assert page.browser.title == title != "taken"
    assert not page.browser.find_elements(
        "css selector", "#left script, #sources script, #left img[src=x], #sources img"
    )
    assert not page.browser.find_elements("css selector", "#left strong, #sources strong")


def test_markup_of_articles_shows_as_text(page: Page, app: App) -> None:
    say(page, "Which sentence may hold stars?")
    answered(page, app, 1)
    page.wait("#sources", "A sentence may hold <script>document.title = 'taken'</script>")
    assert page.browser.title != "taken"


def test_one_types_on_while_a_reply_is_made_and_stops_it(browser: Any, slow: App) -> None:
    page = fresh(browser, slow)
    reply = begun(page, slow)
    box = page.wait("#message textarea")
    slowest = 0.0
    for letter in "and bees":
        began = time.monotonic()
        box.send_keys(letter)
        slowest = max(slowest, time.monotonic() - began)
    assert box.get_attribute("value") == "and bees"
    assert slowest < 2.0
    say(page, "")  # refused while it is busy: what was typed stays
    assert page.wait("#message textarea").get_attribute("value").strip() == "and bees"
    page.click("#stop")
    until(lambda: reply.done)
    assert reply.stats.end == "closed"
    page.wait("#sources", "stopped")
    assert len(slow.conversation.exchanges) == 1


def test_who_closes_the_page_ends_the_reply(browser: Any, slow: App) -> None:
    page = fresh(browser, slow)
    reply = begun(page, slow)
    browser.get("about:blank")
    until(lambda: reply.done)
    assert len(reply.text) < 1000


def test_an_empty_message_is_nothing(page: Page, app: App) -> None:
    say(page, "   ")
    say(page, BEES)
    answered(page, app, 1)
    assert [exchange.said for exchange in app.conversation.exchanges] == [BEES]


def test_a_phone_shows_it_all(browser: Any, app: App) -> None:
    browser.set_window_size(PHONE, 844)
    # headless Chromium has a least width of its own
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        page = fresh(browser, app)
        say(page, BEES)
        answered(page, app, 1)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.set_window_size(1400, 900)
