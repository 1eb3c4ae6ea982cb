"""Fixtures shared by all tests: composed configurations, tokenizers, and real data where it is at hand."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from wikillama.config import cli
from wikillama.config.chat import ChatConfig
from wikillama.config.compare import CompareConfig
from wikillama.config.paths import CONF, ROOT
from wikillama.config.registry import RegistryConfig
from wikillama.config.schema import EvaluateConfig, PrepareConfig, TrainConfig

cli.share_cores()  # tests start jobs beside themselves

SCHEMAS = {
    "train": TrainConfig, "evaluate": EvaluateConfig, "prepare": PrepareConfig, "compare": CompareConfig,
    "registry": RegistryConfig, "chat": ChatConfig,
}  # fmt: skip
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def compose() -> Callable[..., Any]:
    """`compose("peft=lora", ..., name="train")`: the composed and validated configuration of an entry script."""

    @cache  # a composition takes 0.1 s, and configurations are immutable
    def compose_one(*overrides: str, name: str = "train") -> Any:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return cli.validate(hydra_compose(name, list(overrides)), SCHEMAS[name])

    cli.register_resolvers()
    return compose_one


@pytest.fixture(scope="session")
def cache_dir(compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache of these tests alone, but for the machine's converted models, which take half a minute to make."""
    models = Path(compose(name="prepare").cache_dir).expanduser() / "models"
    models.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").symlink_to(models)
    return str(folder)


@pytest.fixture(scope="session")
def byte_source(byte_tokenizer: Any) -> Any:
    """The byte tokenizer as `prepare` wants it."""
    from wikillama.data.prepared import TokenizerSource

    return TokenizerSource("bytes", lambda: byte_tokenizer)


@pytest.fixture(scope="session")
def byte_tokenizer() -> Any:
    from wikillama.model.tokenizer import byte_tokenizer

    return byte_tokenizer()


@pytest.fixture(scope="session")
def smollm2_tokenizer(compose: Callable[..., Any]) -> Any:
    from wikillama.model.base import load_tokenizer_only

    cfg = compose("model=smollm2_135m", name="prepare")
    return load_tokenizer_only(cfg.model, cfg.cache_dir)


@pytest.fixture(scope="session")
def llama2_model_file() -> Path:
    """Llama 2's tokenizer.model, which its licence keeps out of this repository."""
    return _given(SHARED / "tokenizer" / "llama2_tokenizer.model")


@pytest.fixture(scope="session")
def llama2_tokenizer(llama2_model_file: Path) -> Any:
    from wikillama.model.tokenizer import load_tokenizer

    return load_tokenizer(llama2_model_file)


@pytest.fixture(scope="session")
def wow_sized() -> Any:
    """The module of benchmarks/ that makes corpora of any size."""
    spec = importlib.util.spec_from_file_location("wow_sized", ROOT / "benchmarks" / "wow_sized.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def wow_data() -> Path:
    """The folder with pieces of the real Wizard of Wikipedia."""
    return _given(SHARED / "wow")


def _given(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
