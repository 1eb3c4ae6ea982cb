"""Fits of a tiny model on the shipped dialogues, as train.py runs them, without the tracking around it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers import CSVLogger

from wikillama.config.schema import TrainConfig
from wikillama.data.datamodule import WowDataModule
from wikillama.data.encode import Encoded
from wikillama.data.prepared import TokenizerSource
from wikillama.jobs.console import quiet_libraries
from wikillama.model.adapters import attach, trainable
from wikillama.model.base import load_base
from wikillama.model.kernels.choose import choose_kernels
from wikillama.training.callbacks import Samples
from wikillama.training.fit import FitResult, fit
from wikillama.training.plan import plan_step

CPU = torch.device("cpu")
torch.set_num_threads(1)  # tiny matrices: a second thread would only wait
SMALL = [
    "model=tiny", "data=wow_mini", "data.max_length=96", "data.limit_train=40", "data.limit_valid=8",
    "trainer=cpu", "trainer.batch_size=4", "trainer.precision=32-true", "trainer.progress_bar=false",
    "trainer.validations_per_epoch=1", "trainer.log_every_n_steps=1", "trainer.accumulate_grad_batches=1",
    "optim.lr=0.003",
]  # fmt: skip


class Examples(list[Encoded]):
    """Examples that are made up, in the place of those from the cache."""

    @property
    def lengths(self) -> list[int]:
        return [len(e.input_ids) for e in self]


@dataclass
class Fitted:
    model: Any
    before: dict[str, torch.Tensor]
    result: FitResult
    checkpoints: Path
    log: list[dict[str, float]]

    @property
    def after(self) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in trainable(self.model).items()}

    def series(self, metric: str) -> list[float]:
        return [row[metric] for row in self.log if metric in row]


@pytest.fixture(scope="session")
def small(compose: Callable[..., Any]) -> Callable[..., TrainConfig]:
    """`small("peft.r=4", ...)`: a configuration that trains in a second."""
    return lambda *overrides: compose(*SMALL, *overrides)


@pytest.fixture(scope="session")
def data_of(byte_source: TokenizerSource, cache_dir: str) -> Callable[[TrainConfig], WowDataModule]:
    """The data of a configuration, read."""

    def read(cfg: TrainConfig) -> WowDataModule:
        data = WowDataModule(
            cfg.data, cfg.knowledge, cfg.prompt, cfg.packing, byte_source, cfg.trainer, cfg.seed, cache_dir
        )
        data.setup()
        return data

    return read


@pytest.fixture
def run_fit(data_of: Callable[[TrainConfig], WowDataModule], tmp_path: Path) -> Callable[..., Fitted]:
    """`run_fit(cfg)`: a fit from a fresh model. `train` takes the place of the training examples; `sample` is given
    the model and the step."""

    def run(
        cfg: TrainConfig,
        name: str = "fit",
        train: Iterable[Encoded] | None = None,
        resume_from: Path | None = None,
        sample: Callable[[Any, int], None] | None = None,
    ) -> Fitted:
        quiet_libraries()
        seed_everything(cfg.seed, workers=True, verbose=False)
        data = data_of(cfg)
        if train is not None:
            data.train = train if hasattr(train, "lengths") else Examples(train)  # type: ignore[assignment]
        base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
        model = attach(base.model, cfg.peft, base.id)
        before = {n: p.detach().clone() for n, p in trainable(model).items()}
        logger = CSVLogger(tmp_path / name, flush_logs_every_n_steps=1)
        further = [Samples(partial(sample, model))] if sample is not None else []
        loss = choose_kernels(cfg.kernels.name, model, plan_step(cfg, fused=False).recomputation).loss
        result = fit(cfg, model, data, CPU, logger, tmp_path / name / "checkpoints", resume_from, further, loss)
        log = _rows(logger)
        return Fitted(model, before, result, tmp_path / name / "checkpoints", log)

    return run


def _rows(logger: CSVLogger) -> list[dict[str, float]]:
    if not (Path(logger.log_dir) / "metrics.csv").exists():
        return []
    header, *rows = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    names = header.split(",")
    return [{n: float(v) for n, v in zip(names, row.split(","), strict=True) if v} for row in rows]
