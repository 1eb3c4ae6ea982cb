"""Hydra's launcher for the jobs of a sweep side by side; Hydra finds it by this module's place.

Each of the jobs at work has a pool of its own. The joblib launcher runs all of them in one, and a process that is
killed, by lack of memory for one, takes that pool and every job in it along.
"""

import os
import re
import signal
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from wikillama.config import failures
from wikillama.config.failures import Failure, common, job_name


class JobProcesses(Launcher):
    """Runs jobs in processes beside this one, `n_jobs` at once (-1: one a core)."""

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self._idle: list[Any] = []  # pools of one process each, kept from batch to batch
        self._pools = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch; what each job returned, in their order. A job whose process died returns its Failure."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        waiting = deque(enumerate(job_overrides, start=initial_job_idx))
        running: dict[Future[JobReturn], tuple[int, Sequence[str], Any]] = {}
        returned: dict[int, JobReturn] = {}
        try:
            while waiting or running:
                while waiting and (pool := self._pool()) is not None:
                    number, overrides = waiting.popleft()
                    running[self._submit(pool, number, overrides)] = number, overrides, pool
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    number, overrides, pool = running.pop(future)
                    returned[number] = self._returned(future, number, overrides, pool)
        except BaseException:  # interrupted: the jobs must not outlive the sweep
            for pool in (*self._idle, *(pool for _, _, pool in running.values())):
                pool.shutdown(wait=True, kill_workers=True)
            raise
        return [returned[number] for number in sorted(returned)]

    def _pool(self) -> Any:
        """A pool without work; None where as many are at work as may be."""
        from joblib import effective_n_jobs  # type: ignore[import-untyped]
        from joblib.externals.loky.process_executor import ProcessPoolExecutor  # type: ignore[import-untyped]

        if self._idle:
            return self._idle.pop()
        at_most = effective_n_jobs(self.n_jobs)
        if self._pools >= at_most:
            return None
        self._pools += 1
        threads = max(1, (os.cpu_count() or 1) // at_most)
        given = {name: os.environ.get(name, str(threads)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        return ProcessPoolExecutor(max_workers=1, initializer=_begin, env=given)

    def _submit(self, pool: Any, number: int, overrides: Sequence[str]) -> "Future[JobReturn]":
        from hydra_plugins.hydra_joblib_launcher._core import execute_job  # type: ignore[import-untyped]

        state = Singleton.get_state()
        return pool.submit(  # type: ignore[no-any-return]
            execute_job, number, overrides, self.hydra_context, self.config, self.task_function, state
        )

    def _returned(self, future: "Future[JobReturn]", number: int, overrides: Sequence[str], pool: Any) -> JobReturn:
        error = future.exception()
        if error is None:
            self._idle.append(pool)
            return future.result()
        pool.shutdown(wait=True, kill_workers=True)
        self._pools -= 1
        return self._lost(error, number, overrides)

    def _lost(self, error: BaseException, number: int, overrides: Sequence[str]) -> JobReturn:
        """What stands for a job that returned nothing; callbacks are told here, since its own process cannot."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        lost = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
        lost.return_value = failures.note(
            Failure(job_name(overrides, common(sys.argv[1:])), failures.OURS, _said(error))
        )
        self.hydra_context.callbacks.on_job_end(config=config, job_return=lost)
        return lost


def _begin() -> None:
    """Of a process for jobs: an interruption is the business of the one that started it."""
    from wikillama.config.cli import register_resolvers

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    register_resolvers()


def _said(error: BaseException) -> str:
    """One line on how a job was lost."""
    codes = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
    if codes:
        return f"its process was killed: {codes[1]}"
    return f"{type(error).__name__}: " + " ".join(str(error).split())
