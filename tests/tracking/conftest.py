"""A store that all tests of tracking share: making one takes seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from servers import MISSING, PASSWORD, USER, Relay, Server, postgres

from wikillama.model.adapters import attach, save, trainable
from wikillama.model.base import load_base
from wikillama.model.recipe import Recipe
from wikillama.tracking.run import TrackedRun, tracked_run

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An MLflow server over PostgreSQL, which keeps artifacts itself."""
    if MISSING is not None:
        pytest.skip(MISSING)
    with postgres() as port:
        backend = f"postgresql+psycopg2://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/mlflow"
        server = Server(backend, tmp_path_factory.mktemp("server"))
        try:
            yield server.start()
        finally:
            server.stop()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    """A way to the server that can be cut."""
    relay = Relay(server.port)
    yield relay
    relay.shut()


@pytest.fixture(scope="session")
def job(compose: Callable[..., Any], store: str) -> Callable[..., Any]:
    """`job("peft.r=4")`: a configuration of train.py that tracks in the store."""
    return lambda *overrides: compose(
        "model=tiny", "data=wow_mini", "trainer=cpu", f"tracking.uri={store}", *overrides
    )  # fmt: skip


@pytest.fixture
def adapter(tmp_path: Path) -> Callable[[Any], tuple[Any, Path]]:
    """`adapter(cfg)`: a model with weights that nothing else has, and its adapter as train.py exports it."""

    def build(cfg: Any) -> tuple[Any, Path]:
        base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
        model = attach(base.model, cfg.peft, base.id)
        for parameter in trainable(model).values():
            parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.1
        folder = save(model, tmp_path / "exported")
        Recipe(
            model=cfg.model, base_id=base.id, base_weights_hash=base.weights_hash, dtype="float32",
            quantization=cfg.quantization, peft=cfg.peft, knowledge=cfg.knowledge, prompt=cfg.prompt,
            max_length=256, max_new_tokens=8,
        ).write(folder)  # fmt: skip
        return model.eval(), folder

    return build


@pytest.fixture
def logged(tmp_path: Path) -> Callable[[Any, Path], TrackedRun]:
    """`logged(cfg, folder)`: a finished run that holds the adapter in `folder`."""

    def log(cfg: Any, folder: Path) -> TrackedRun:
        with tracked_run(cfg.tracking, cfg, tmp_path) as run:
            run.artifacts(folder, "adapter")
        return run

    return log
