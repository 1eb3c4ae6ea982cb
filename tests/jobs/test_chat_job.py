"""chat.py as it is started: the page's port, OpenAI's clients on it, what it refuses, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from wikillama.config.paths import ROOT

SECONDS = 180  # for a start on a machine that others use as well
TINY = ("model=tiny", "adapter=base", "quantization=none", "data=wow_mini", "max_new_tokens=12", "open_browser=false")


def start(folder: Path, *overrides: str, **given: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "chat.py", *TINY, f"tracking.uri=sqlite:///{folder}/mlflow.db", *overrides]
    environment = {**os.environ, "WIKILLAMA_CACHE": str(folder), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, **given)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running chat.py, and its address."""
    process = start(tmp_path_factory.mktemp("chat"), "port=0")
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, process.communicate()
        yield process, found[0]
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def test_twenty_clients_at_once_get_their_own_replies(served: tuple[Any, str]) -> None:
    client = openai.OpenAI(base_url=f"{served[1]}/v1", api_key="none", max_retries=0)

    def ask(number: int) -> str:
        chunks = client.chat.completions.create(
            model="base", stream=True, messages=[{"role": "user", "content": f"{number} is which number?"}],
            extra_body={"knowledge": ["Numbers count."]},
        )  # fmt: skip
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    alone = {number: ask(number) for number in range(20)}
    found: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: ask(n)})) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == alone


def test_the_page_gives_no_files_and_takes_none(served: tuple[Any, str]) -> None:
    url = served[1]
    page = requests.get(url, timeout=SECONDS)
    assert page.status_code == 200
    assert "Wiki-Llama" in page.text
    for path in ("/etc/passwd", f"{ROOT}/pyproject.toml", "../../etc/passwd"):
        assert requests.get(f"{url}/gradio_api/file={path}", timeout=SECONDS).status_code in (403, 404)
    sent = requests.post(f"{url}/gradio_api/upload", files={"files": b"x" * 2000}, timeout=SECONDS)
    assert sent.status_code == 413


def test_pages_of_other_names_do_not_reach_it(served: tuple[Any, str]) -> None:
    assert requests.get(served[1], headers={"Host": "elsewhere.example"}, timeout=SECONDS).status_code == 400


def test_a_port_in_use_is_one_line(served: tuple[Any, str], tmp_path: Path) -> None:
    port = served[1].rpartition(":")[2]
    process = start(tmp_path, f"port={port}")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert (
        err == f"error: host=127.0.0.1 port={port}: cannot listen there (Address already in use); give another port=\n"
    )


def test_the_terminal_reads_lines_and_ends_with_them(tmp_path: Path) -> None:
    process = start(tmp_path, "ui=terminal", "record=false", stdin=subprocess.PIPE)
    out, err = process.communicate("/off\nHello!\n/correct\n", timeout=SECONDS)
    assert process.returncode == 0, err
    assert "tokens/s" in out
    assert "was not recorded, so it cannot be labelled" in out


def test_ctrl_c_ends_the_page(served: tuple[Any, str]) -> None:  # the last one: it ends what the others use
    process, url = served
    with requests.get(f"{url}/gradio_api/heartbeat/somebody", stream=True, timeout=SECONDS):  # a page is open
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) in (0, 130)
    assert process.stderr.read() in ("", "interrupted\n")
