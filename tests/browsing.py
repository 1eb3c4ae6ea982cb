"""Pages of the MLflow UI in a headless browser, read and clicked as a person would."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wikillama.config.paths import ROOT

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
NO_BROWSER = None
if CHROMIUM is None or DRIVER is None:
    NO_BROWSER = "chromium and chromedriver are missing: apt install chromium-driver"
elif importlib.util.find_spec("selenium") is None:
    NO_BROWSER = "selenium is missing: pip install selenium"
SECONDS = 90  # for a page on a busy machine
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@contextmanager
def opened_browser(folder: Path, size: tuple[int, int] = (1280, 800)) -> Iterator[Any]:
    """A browser that reaches this machine alone, with its profile in `folder`."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*_FLAGS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={folder}/profile"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """What a person sees and does."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def wait(self, selector: str, text: str = "") -> Any:
        """The first visible element of a selector that shows a text."""
        return self._until(lambda element: element, selector, text)

    def click(self, selector: str, text: str = "") -> None:
        self._until(lambda element: element.click() or True, selector, text)

    def follow(self, text: str) -> None:
        """Click a link that opens a page of its own, and go on there."""
        before = len(self.browser.window_handles)
        self.click("a[target=_blank]", text)
        assert len(self.browser.window_handles) == before + 1
        self.browser.switch_to.window(self.browser.window_handles[-1])

    def _until(self, done: Callable[[Any], Any], selector: str, text: str) -> Any:
        """What `done` makes of the element, which the page may replace at any moment: then it is looked for again."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        def find(browser: Any) -> Any:
            found = browser.find_elements("css selector", selector)
            shown = next((each for each in found if each.is_displayed() and text in each.text), None)
            return shown and done(shown)

        waiting = WebDriverWait(self.browser, SECONDS, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(find, f"{selector} with {text!r}")

    def picture(self, name: str) -> None:
        """Keep a screenshot for the manual."""
        path = ROOT / "docs" / name
        path.parent.mkdir(exist_ok=True)
        assert self.browser.save_screenshot(str(path))
        assert path.stat().st_size < 200_000
