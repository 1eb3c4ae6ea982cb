"""What a run says of its machine, and that watching ends with the run however that ends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from wikillama.tracking import system_metrics as watching
from wikillama.tracking.run import open_client, tracked_run
from wikillama.tracking.system_metrics import system_metrics


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")


def logged(store: str, run_id: str) -> dict[str, float]:
    metrics = open_client(store).get_run(run_id).data.metrics
    return {name: value for name, value in metrics.items() if name.startswith("system/")}


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def watchers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("SystemMetrics", "system met"))]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_run_holds_them_and_its_end_ends_them(
    job: Callable[..., Any], store: str, tmp_path: Path, error: type[BaseException] | None
) -> None:
    cfg = job()
    with nullcontext() if error is None else pytest.raises(error), tracked_run(cfg.tracking, cfg, tmp_path) as run:
        assert watchers()
        wait_until(lambda: logged(store, run.id))
        if error is not None:
            raise error
    assert watchers() == []
    found = logged(store, run.id)
    assert {"system/cpu_utilization_percentage", "system/disk_usage_percentage"} <= found.keys()
    assert 0 < found["system/system_memory_usage_percentage"] <= 100
    assert found["system/network_receive_megabytes"] >= 0


def test_none_where_none_are_wanted(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job("tracking.system_metrics=false")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        assert watchers() == []
        time.sleep(0.5)
    assert logged(store, run.id) == {}


def test_a_resumed_run_counts_on(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job()
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        wait_until(lambda: logged(store, run.id))
    with tracked_run(cfg.tracking, cfg, tmp_path, resume=run.id):
        before = len(history(store, run.id))
        wait_until(lambda: len(history(store, run.id)) > before)
    steps = history(store, run.id)
    assert steps == list(range(len(steps)))


def history(store: str, run_id: str) -> list[int]:
    return [m.step for m in open_client(store).get_metric_history(run_id, "system/cpu_utilization_percentage")]


def test_a_machine_that_cannot_be_watched_is_a_line_in_the_log(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "often")
    with system_metrics("0" * 32, store):
        assert watchers() == []
    (line,) = caplog.messages
    assert line.startswith("no system metrics: ")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every call and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_store_that_hangs_does_not_hold_the_job(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_PATIENCE", 0.5)
    with system_metrics("0" * 32, silent):
        time.sleep(0.5)  # by then the monitor waits for an answer
        ended = time.monotonic()
    assert 0.4 < time.monotonic() - ended < 3
