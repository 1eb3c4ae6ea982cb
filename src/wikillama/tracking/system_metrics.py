"""CPU, memory, disk, network and GPU while a run lasts, by MLflow's own monitor, as metrics `system/...`."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds in which the monitor has to be gone, so that a store that hangs does not hold the job


@contextmanager
def system_metrics(run_id: str, uri: str, resumed: bool = False) -> Iterator[None]:
    """Watch this machine while the context lasts; a resumed run's steps are counted on.

    A sample every 10 seconds, or every MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL. GPUs are seen where nvidia-ml-py is
    installed. What cannot be watched is said in a line of the log; the job goes on without.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # brings psutil

    try:
        monitor = SystemMetricsMonitor(run_id, resume_logging=resumed, tracking_uri=uri)
    except Exception as error:  # such as a container without network interfaces, which psutil gives None for
        log.warning("no system metrics: this machine cannot be watched (%s: %s)", type(error).__name__, error)
        yield
        return
    monitor.start()
    try:
        yield
    finally:
        # its own end waits for the store without limit
        end = threading.Thread(target=monitor.finish, daemon=True, name="system metrics: end")
        end.start()
        end.join(_PATIENCE)
