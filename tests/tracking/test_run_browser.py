"""Runs in the MLflow UI: an experiment that opens comparable, and a run whose description leads to what it holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import NO_BROWSER, Page, opened_browser
from servers import Server

from wikillama.tracking import links
from wikillama.tracking.run import TrackedRun, open_client, tracked_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NO_BROWSER is not None, reason=str(NO_BROWSER))]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened_browser(tmp_path, (1700, 900)) as browser:
        yield Page(browser)


@pytest.fixture
def ui(store: str, tmp_path: Path) -> Iterator[str]:
    server = Server(store, tmp_path)
    try:
        yield server.start().uri
    finally:
        server.stop()


@pytest.fixture
def runs(job: Callable[..., Any], tmp_path: Path) -> list[TrackedRun]:
    """Two runs that differ in rank and score."""
    made = []
    for rank in (4, 16):
        cfg = job("tracking.experiment=looked at", f"peft.r={rank}", "tracking.system_metrics=false")
        with tracked_run(cfg.tracking, cfg, tmp_path) as run:
            run.metrics({"wow_mini_seen/ppl": rank + 0.25})
            run.table({"step": [0, 6], "its reply": ["Tea is a stone.", "Tea is a drink."]}, "samples.json")
            experiment = open_client(cfg.tracking.uri).get_run(run.id).info.experiment_id
            samples, version = links.artifact_page(experiment, run.id, "samples.json"), links.version_page("tea", "1")
            run.describe(f"**Ours**\n\n- [samples]({samples})\n- [version]({version})")
        made.append(run)
    client = open_client(cfg.tracking.uri)
    client.create_registered_model("tea")
    client.create_model_version("tea", str(tmp_path), run_id=made[0].id)
    return made


def test_runs_are_compared_and_looked_into(runs: list[TrackedRun], ui: str, page: Page) -> None:
    experiment = runs[0].client.get_run(runs[0].id).info.experiment_id
    page.browser.get(f"{ui}/#/experiments/{experiment}/runs")
    page.click("[aria-label='Close']")  # MLflow's assistant, which covers a quarter of the page
    page.follow("Training and sweeps")
    for name in ("tiny qlora r4 nf4", "tiny qlora r16 nf4", "peft.r", "wow_mini_seen/ppl", "4.25", "16.25"):
        page.wait("body", name)
    page.click("a", "tiny qlora r16 nf4")
    page.wait("strong", "Ours")
    address = page.browser.current_url
    page.follow("samples")
    page.wait("body", "Tea is a stone.")
    assert page.browser.current_url.endswith(f"/runs/{runs[1].id}/artifacts/samples.json")
    page.browser.get(address)
    page.follow("version")
    page.wait("body", "Version 1")
