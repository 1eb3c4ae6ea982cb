"""A reviewer's session: MLflow's own server and page, in a headless browser, by mouse and keyboard."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from browsing import NO_BROWSER, SECONDS, Page, opened_browser

from wikillama.tracking.review import Answer, Progress, collect_review, create_review

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))]

SYSTEMS = ("zebra-70b", "aardvark-7b")
ITEMS = {
    "cars": (
        "When did the Ford Mustang come out?",
        "April 17, 1964",
        ("Ford showed the Mustang at the New York fair on April 17, 1964.", "Its first design was led by John Najjar."),
        ("It came out in April 1964, at the fair in New York.", "I believe it was 1972."),
    ),
    "animals": (
        "What do koalas eat?",
        "leaves of eucalyptus trees",
        ("Koalas live on the leaves of eucalyptus trees, which hold little energy, so they sleep most of the day.",),
        ("Mostly leaves!", "They love to sleep, don't they?"),
    ),
}
ANSWERS = [
    Answer(topic, system, topic, question, reply, reference, knowledge)
    for topic, (question, reference, knowledge, replies) in ITEMS.items()
    for system, reply in zip(SYSTEMS, replies, strict=True)
]
JUDGED = {
    ("cars", SYSTEMS[0]): ("correct", None),
    ("cars", SYSTEMS[1]): ("wrong", "hallucination: 1972 is not in the passages"),
    ("animals", SYSTEMS[0]): ("ambiguous", "partial"),
    ("animals", SYSTEMS[1]): ("wrong", "off-topic"),
}
PART = "[data-component-id='mlflow.experiment-review-queue.{}']"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server on a free port of this machine, over a new store in `tmp_path`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", f"{tmp_path}/artifacts",
    ]  # fmt: skip
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while not is_up(address):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has workers, which outlive it otherwise
        process.wait(timeout=10)


def is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with opened_browser(tmp_path) as browser:
        yield browser


class Review(Page):
    """What a reviewer does on the page."""

    def shown(self) -> tuple[str, str]:
        """Item and system of the answer under review, by what can be read of it."""
        text = self.browser.find_element("css selector", "body").text
        found = [answer.key for answer in ANSWERS if answer.question in text and answer.reply in text]
        assert len(found) == 1
        return found[0]

    def choose(self, verdict: str, comment: str | None) -> None:
        self.click(PART.format("focused-review.question.categorical"))
        self.click("[role=option]", verdict)
        box = self.wait(PART.format("focused-review.rationale"))
        box.clear()
        box.send_keys(comment or "")

    def submit(self) -> None:
        self.click(PART.format("focused-review.complete") + ":not([disabled])")


def test_labels_given_by_mouse_are_collected(server: str, browser: Any, tmp_path: Path) -> None:
    review = create_review(server, "assessment", ANSWERS, ["ann", "bob"], seed=4)
    page = Review(browser)
    browser.get(server + review.page("ann"))
    page.click("[aria-label='Close']")  # MLflow's assistant, which covers a quarter of the page
    page.wait("body", ANSWERS[0].reply)
    assert not [system for system in SYSTEMS if system in browser.page_source]
    page.picture("review_queue.png")

    page.click(PART.format("list.start-review"))
    given: dict[tuple[str, str], tuple[str, str | None]] = {}
    for n in range(3):
        page.wait("body", f"{n} of 4 reviewed")
        page.wait(PART.format("focused-review.complete"))
        answer = page.shown()
        assert answer not in given
        assert not [system for system in SYSTEMS if system in browser.page_source]
        given[answer] = JUDGED[answer]
        page.choose(*JUDGED[answer])
        if n == 0:
            page.picture("review_item.png")
        page.submit()
    page.wait("body", "3 of 4 reviewed")
    found = collect_review(server, "assessment")
    assert {label.answer: (label.label, label.comment) for label in found.labels} == given
    assert {label.annotator for label in found.labels} == {"ann"}
    assert found.progress == {"ann": Progress(3, 4), "bob": Progress(0, 4)}

    browser.get(server + review.page("ann"))
    page.click("[role=row]", "Reviewed")
    page.wait(PART.format("focused-review.complete"), "Save changes")
    changed = page.shown()
    other = "ambiguous" if given[changed][0] == "wrong" else "wrong"
    page.choose(other, "on second thoughts")
    page.submit()
    page.wait("body", "Changes saved")
    again = collect_review(server, "assessment")
    assert again.history == (*found.history, next(label for label in again.labels if label.answer == changed))
    given[changed] = other, "on second thoughts"
    assert {label.answer: (label.label, label.comment) for label in again.labels} == given
    assert create_review(server, "assessment", ANSWERS, ["ann", "bob"], seed=4).added == 0
    assert collect_review(server, "assessment") == again
