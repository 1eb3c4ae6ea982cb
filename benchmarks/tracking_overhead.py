"""Measures what tracking costs: the demo's fit with it and without it, in turn, in one process.

python benchmarks/tracking_overhead.py                     four pairs of three optimizer steps: 5 minutes on two cores
python benchmarks/tracking_overhead.py --pairs 8           more of them
python benchmarks/tracking_overhead.py trainer=cpu ...     further overrides of train.py; another job
python benchmarks/tracking_overhead.py --record FILE.json  where the record goes

Both sides see the same model, data, order and steps. With tracking means all that train.py has by default: an MLflow
run in sqlite, metrics at each logged step, system metrics. A step lasts from its first micro-batch to the next step or
validation. Steps are compared pairwise: the n-th with tracking with the n-th without. Wall time is what a user waits;
CPU time of all threads says it, too, and other work on the machine disturbs it less.

Where steps vary by more than tracking costs, `own_work` says what it costs: the CPU time of logging a step and of a
sample of system metrics, each measured alone, as a share of the CPU time of a step.

Sample replies are given between steps; they are measured apart, so that the steps of both sides find the process in
the same state.
"""

# ruff: noqa: E402
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wikillama.config import cli

cli.share_cores()  # as train.py does, before torch is loaded

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, seed_everything
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from wikillama.config.paths import CONF, ROOT
from wikillama.config.schema import TrainConfig
from wikillama.jobs.console import quiet_libraries
from wikillama.jobs.train.load import load_model, read_data
from wikillama.jobs.train.samples import samples
from wikillama.model.adapters import trainable
from wikillama.model.base import device_of
from wikillama.tracking.facts import code_tags, environment_tags
from wikillama.tracking.run import open_client, tracked_run
from wikillama.training.fit import fit

KINDS = ("wall", "cpu")
LOGGED = ("epoch", "memory/peak_gb", "train/loss", "train/lr", "train/target_tokens", "train/tokens_per_s")


@dataclass
class Clock(Callback):
    """Wall and CPU seconds of each optimizer step; validation, checkpoints and samples stand outside."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    _since: tuple[float, float] | None = None
    _spent: tuple[float, float] = (0.0, 0.0)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._stop()
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._next_step()
        self._since = time.perf_counter(), time.process_time()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._stop()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._stop()
        self._next_step()

    def _stop(self) -> None:
        if self._since is not None:
            wall, cpu = time.perf_counter() - self._since[0], time.process_time() - self._since[1]
            self._spent, self._since = (self._spent[0] + wall, self._spent[1] + cpu), None

    def _next_step(self) -> None:
        if self._spent != (0.0, 0.0):
            self.wall.append(self._spent[0])
            self.cpu.append(self._spent[1])
        self._spent = 0.0, 0.0


class Job:
    """The demo's fit, which can be repeated from the same start."""

    def __init__(self, overrides: Sequence[str], folder: Path) -> None:
        cli.register_resolvers()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw = compose("train", [*overrides, f"tracking.uri=sqlite:///{folder}/mlflow.db"])
        self.cfg: TrainConfig = cli.validate(raw, TrainConfig)
        self.folder, self.device, self.fits = folder, device_of(self.cfg.trainer.accelerator), 0
        self.data, _ = read_data(self.cfg)
        self.base, self.model = load_model(self.cfg, self.device)
        self.start = {name: p.detach().clone() for name, p in trainable(self.model).items()}
        open_client(self.cfg.tracking.uri)  # makes the store, which takes seconds once

    def fit(self, tracked: bool) -> Clock:
        """Fit once; its steps."""
        clock = Clock()
        self.fits += 1
        checkpoints = self.folder / f"checkpoints-{self.fits}"
        seed_everything(self.cfg.seed, workers=True, verbose=False)
        for name, parameter in trainable(self.model).items():
            parameter.data.copy_(self.start[name])
        opened = tracked_run(self.cfg.tracking, self.cfg, checkpoints) if tracked else nullcontext()
        with opened as run:
            logger = run.lightning_logger() if run else None
            fit(self.cfg, self.model, self.data, self.device, logger, checkpoints, None, [clock])
        return clock

    def sample_replies(self, times: int = 3) -> list[float]:
        """Wall seconds of each time that samples are taken."""
        seconds = []
        with tracked_run(self.cfg.tracking, self.cfg, self.folder) as run:
            for watching in samples(self.cfg, self.model, self.base, self.data, run):
                for step in range(times):
                    began = time.perf_counter()
                    watching.sample(step)
                    seconds.append(time.perf_counter() - began)
        return seconds

    def own_work(self, step_cpu: float, step_wall: float) -> dict[str, float]:
        """CPU seconds of tracking alone, and their share of a step that takes so much CPU and wall time."""
        tracking = self.cfg.tracking.model_copy(update={"system_metrics": False})
        with tracked_run(tracking, self.cfg, self.folder) as run:
            logger, monitor = run.lightning_logger(), SystemMetricsMonitor(run.id, tracking_uri=run.uri)

            def log(step: int) -> None:
                logger.log_metrics(dict.fromkeys(LOGGED, 1.0), step)
                run.sender.flush()

            def watch(step: int) -> None:
                monitor.collect_metrics()
                monitor.publish_metrics(monitor.aggregate_metrics())
                monitor.mlflow_logger.flush()

            logging, watching = cpu_of(log), cpu_of(watch)
        a_step = logging / self.cfg.trainer.log_every_n_steps + watching * step_wall / monitor.sampling_interval
        return {
            "log_a_step_cpu_s": round(logging, 4),
            "system_sample_cpu_s": round(watching, 4),
            "system_sample_every_s": monitor.sampling_interval,
            "share_of_a_step": round(a_step / step_cpu, 4),
        }


def cpu_of(call: Callable[[int], None], times: int = 30) -> float:
    """CPU seconds of all threads of a call, the mean over some."""
    call(0)
    began = time.process_time()
    for number in range(times):
        call(1 + number)
    return (time.process_time() - began) / times


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 4), "quartile_1": round(low, 4), "quartile_3": round(high, 4), "n": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=[])
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "tracking_overhead.json")
    arguments = parser.parse_args()
    quiet_libraries()
    began, load = time.perf_counter(), os.getloadavg()
    short = [f"trainer.max_steps={arguments.steps}", "trainer.progress_bar=false", "data.limit_valid=4"]
    sides: dict[bool, list[Clock]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(["experiment=demo", *short, *arguments.overrides], Path(folder))
        job.fit(tracked=True)  # the first one warms caches and imports
        for pair in range(arguments.pairs):
            for tracked in (True, False) if pair % 2 else (False, True):
                clock = job.fit(tracked)
                sides[tracked].append(clock)
                print(
                    f"tracking {'on ' if tracked else 'off'}: {', '.join(f'{s:.2f}' for s in clock.wall)} s", flush=True
                )
        steps = {on: {kind: [s for clock in sides[on] for s in getattr(clock, kind)] for kind in KINDS} for on in sides}
        own_work = job.own_work(*(statistics.median(steps[False][kind]) for kind in ("cpu", "wall")))
        sampled = job.sample_replies()
    ratios = {
        kind: spread(
            [
                on / off
                for with_it, without in zip(sides[True], sides[False], strict=True)
                for on, off in zip(getattr(with_it, kind), getattr(without, kind), strict=True)
            ]
        )
        for kind in KINDS
    }
    record = {
        "what": "seconds of an optimizer step of the demo with tracking and without, in turn in one process",
        "command": f"python benchmarks/tracking_overhead.py {' '.join(sys.argv[1:])}".strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "pairs": arguments.pairs,
        "steps_a_fit": arguments.steps,
        "log_every_n_steps": job.cfg.trainer.log_every_n_steps,
        **{
            name: {f"{kind}_s": spread(steps[on][kind]) for kind in KINDS}
            for name, on in (("with_tracking", True), ("without_tracking", False))
        },
        "ratio": ratios,
        "own_work": own_work,
        "sample_replies_s": {"replies": job.cfg.evaluation.samples, **(spread(sampled) if sampled else {})},
        "seconds": round(time.perf_counter() - began),
        "load_average": {"before": load, "after": os.getloadavg()},
        "threads": torch.get_num_threads(),
        **code_tags(),
        **environment_tags(),
    }
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))
    print(
        f"step time with tracking / without: wall {ratios['wall']['median']:.4f}, CPU {ratios['cpu']['median']:.4f}; "
        f"tracking's own work: {own_work['share_of_a_step']:.2%} of a step"
    )


if __name__ == "__main__":
    main()
