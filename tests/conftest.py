"""Fixtures shared by all tests: composed configurations, tokenizers, and real data where it is at hand."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from wikillama.config import cli
from wikillama.config.paths import CONF, ROOT
from wikillama.config.schema import EvaluateConfig, PrepareConfig, TrainConfig

SCHEMAS = {"train": TrainConfig, "evaluate": EvaluateConfig, "prepare": PrepareConfig}
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
def byte_tokenizer() -> Any:
    from wikillama.model.tokenizer import byte_tokenizer

    return byte_tokenizer()


@pytest.fixture(scope="session")
def smollm2_tokenizer(compose: Callable[..., Any]) -> Any:
    from wikillama.model.base import load_tokenizer_only

    return load_tokenizer_only(compose("model=smollm2_135m", name="prepare").model, "~/.cache/wikillama")


@pytest.fixture(scope="session")
def llama2_model_file() -> Path:
    """Llama 2's tokenizer.model, which its licence keeps out of this repository."""
    return _given(SHARED / "tokenizer" / "llama2_tokenizer.model")


@pytest.fixture(scope="session")
def llama2_tokenizer(llama2_model_file: Path) -> Any:
    from wikillama.model.tokenizer import load_tokenizer

    return load_tokenizer(llama2_model_file)


@pytest.fixture(scope="session")
def wow_data() -> Path:
    """The folder with pieces of the real Wizard of Wikipedia."""
    return _given(SHARED / "wow")


def _given(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
