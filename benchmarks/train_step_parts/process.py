"""Talks to a process of worker.py: a line of JSON each way, within a limit of time."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

WORKER = "train_step_parts.worker"
SOURCES = (Path(__file__).parents[1], Path(__file__).parents[2] / "src")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false", "UNSLOTH_DISABLE_STATISTICS": "1",
}  # fmt: skip
GRACE = 3.0  # seconds between the request to end and the end


class Process:
    """A worker, in a folder of its own, where libraries may leave what they like. Its stderr goes to `log` there."""

    def __init__(self, stack: str, options: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        self.ready = False  # it has said so
        self.answers = False  # it did, the last time
        paths = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([*paths, *map(str, SOURCES)])}
        if "--tiny" in options:
            environment["OMP_NUM_THREADS"] = "1"  # tiny matrices: a second thread would only wait
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER, stack, *options],
                cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, process_group=0,
            )  # fmt: skip
        self._in: Any = self.process.stdin
        self._out: Any = self.process.stdout
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]

    def ask(self, job: list[Any], limit: float) -> dict[str, Any]:
        """The answer to a job; `error`, in one line, where there is none within `limit` seconds."""
        try:
            self._in.write(json.dumps(job).encode() + b"\n")
            self._in.flush()
        except OSError:
            return self._no_answer(self._last_words())
        return self.answer(limit)

    def answer(self, limit: float) -> dict[str, Any]:
        """The next line that the worker says, or an `error`."""
        until = time.monotonic() + limit
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, until - time.monotonic())):
                return self._no_answer(f"no answer within {limit:.0f} s")
            piece = os.read(self._out.fileno(), 1 << 16)
            if not piece:
                return self._no_answer(self._last_words())
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        self.answers = (self.ready or "error" not in answer) and "ends" not in answer
        self.ready = self.answers
        return answer

    def _no_answer(self, why: str) -> dict[str, Any]:
        self.answers = False
        return {"error": why}

    def dismiss(self) -> None:
        """Tell the worker to end when it has done what it is at."""
        with suppress(OSError):
            self._in.close()

    def end(self) -> None:
        """End the worker and what it started."""
        self.dismiss()
        self._selector.close()
        self._out.close()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _last_words(self) -> str:
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            code = 0
        lines = [line for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return f"the process ended with {code} ({lines[-1].strip()[:160] if lines else 'it said nothing'})"
