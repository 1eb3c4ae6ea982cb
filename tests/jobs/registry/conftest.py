"""A base with weights of its own, a store, a version trained for real, and registry.py within this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from omegaconf import open_dict

from wikillama.config import cli
from wikillama.config.paths import CONF
from wikillama.config.registry import RegistryConfig, arguments, check_registry
from wikillama.config.rules import check_train
from wikillama.config.schema import Section, TrainConfig
from wikillama.jobs.registry import act
from wikillama.jobs.train import job
from wikillama.jobs.train.job import Trained, train
from wikillama.model.base import load_base

IDS = torch.arange(5, 105)[None]
SMALL = [
    "quantization=nf4", "data=wow_mini", "data.max_length=256", "data.limit_test=8", "evaluation.max_new_tokens=4",
    "evaluation.resamples=200",
]  # fmt: skip
TRAINING = [
    "trainer=cpu", "data.limit_train=24", "data.limit_valid=8", "trainer.precision=32-true", "trainer.batch_size=4",
    "trainer.threads=1", "trainer.progress_bar=false", "evaluation.base=false", "evaluation.samples=0", "optim.lr=0.01",
    "tracking.system_metrics=false", "evaluation.questions=10",
]  # fmt: skip


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


@dataclass(frozen=True)
class Place:
    """Where these tests keep store, cache, base and outputs."""

    folder: Path

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    @property
    def base(self) -> list[str]:
        return ["model=tiny", "model.source=hub", "model.weights=pretrained", f"model.path={self.folder}/base"]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.store, self.store)

    def validated(self, name: str, schema: type[Section], overrides: list[str]) -> Any:
        cli.register_resolvers()
        places = [f"tracking.uri={self.store}", f"cache_dir={self.folder}/cache", f"hydra.run.dir={self.folder}/out"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw = hydra_compose(name, [*overrides, *places], return_hydra_config=True)
        with open_dict(raw):
            raw.hydra.runtime.output_dir = f"{self.folder}/out"
            HydraConfig.instance().set_config(raw)
            del raw["hydra"]
        return cli.validate(raw, schema)

    @contextmanager
    def hydra(self) -> Iterator[None]:
        try:
            yield
        finally:
            HydraConfig.instance().cfg = None


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    found = Place(tmp_path_factory.mktemp("registry"))
    (found.folder / "out").mkdir()  # as Hydra would
    cfg = found.validated("train", TrainConfig, ["model=tiny", "peft=lora", *SMALL[1:]])
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    for parameter in base.model.parameters():  # so that 4-bit weights, rounded ones and exact ones differ visibly
        parameter.data = parameter.data * 4
    base.model.save_pretrained(found.folder / "base")
    base.tokenizer.save_pretrained(found.folder / "base")
    return found


@dataclass(frozen=True)
class Done:
    """A version from train.py, and what the model answered before it was let go."""

    trained: Trained
    logits: torch.Tensor


@pytest.fixture(scope="package")
def first(place: Place) -> Done:
    """Version 1, from a small real training job."""
    seen = []

    def watched(cfg: Any, base: Any, model: Any, folder: Path) -> Path:
        exported = export(cfg, base, model, folder)
        seen.append(logits(model))
        return exported

    export = job.export
    with pytest.MonkeyPatch.context() as patch, place.hydra():
        patch.setattr(job, "export", watched)
        cfg = place.validated("train", TrainConfig, [*place.base, *SMALL, *TRAINING])
        check_train(cfg)
        trained = train(cfg)
    assert trained is not None
    return Done(trained, seen[0])


@pytest.fixture
def registry(place: Place, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """`registry("list")`: what registry.py prints."""

    def run(*words: str) -> str:
        given = {word.partition("=")[0] for word in words}
        small = [word for word in SMALL if word.partition("=")[0] not in given]
        cfg = place.validated("registry", RegistryConfig, arguments([*words, *small]))
        check_registry(cfg)
        capsys.readouterr()
        act(cfg)
        return capsys.readouterr().out

    with place.hydra():
        yield run
