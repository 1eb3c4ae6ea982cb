"""Metrics on their way to MLflow: sent by a thread of their own, so that a store that is away holds nothing up."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from wikillama.config.paths import without_secrets

log = logging.getLogger(__name__)

_METRICS_A_CALL = 1000  # MLflow's limit
_PAUSE = 10.0  # seconds before a store is tried again that did not take something


class Sender:
    """Sends what a run logs, in its order. What the store does not take is kept, and tried again with what comes next.

    MLflow's own asynchronous logging drops a batch that failed, and gives each step a batch and a retry of its own.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._waiting: list[Metric | Callable[[], None]] = []  # both threads change it in single steps
        self._thread: threading.Thread | None = None
        self._tried_again = 0.0  # not before this time
        self._said = False

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Returns at once."""
        now = int(time.time() * 1000)
        self._put([Metric(name, value, now, step) for name, value in values.items()])

    def later(self, call: Callable[[], None]) -> None:
        """Let the thread do a call to the store, which is repeated until it does not raise. Returns at once."""
        self._put([call])

    def _put(self, added: Sequence[Metric | Callable[[], None]]) -> None:
        self._waiting.extend(added)
        if time.monotonic() < self._tried_again or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._try, name="to MLflow", daemon=True)  # an interrupt ends it, too
        self._thread.start()

    def flush(self, seconds: float | None = None) -> None:
        """Returns when all is in the store. Raises MlflowException where it stays away, or takes longer than that."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                raise MlflowException(f"the store did not take what was logged within {seconds} s")
        self._send()

    def _try(self) -> None:
        try:
            self._send()
            self._said = False
        except Exception as error:  # of whatever kind: the job's work is worth more than its log
            self._tried_again = time.monotonic() + _PAUSE
            if not self._said:
                line = without_secrets((str(error).splitlines() or [type(error).__name__])[0])
                log.warning("metrics wait, since the MLflow store does not take them; the job goes on (%s)", line)
            self._said = True

    def _send(self) -> None:
        while self._waiting:
            first, batch = self._waiting[0], list[Metric]()
            if not isinstance(first, Metric):
                first()
                del self._waiting[0]
                continue
            for each in self._waiting[:_METRICS_A_CALL]:
                if not isinstance(each, Metric):
                    break
                batch.append(each)
            self._client.log_batch(self._run_id, metrics=batch)
            del self._waiting[: len(batch)]
