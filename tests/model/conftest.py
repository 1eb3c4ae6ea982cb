"""Tiny models, as train.py would build them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.model.adapters import attach
from wikillama.model.base import Base, load_base, resolve_dtype

CPU = torch.device("cpu")
torch.set_num_threads(1)  # tiny matrices: a second thread would only wait


@pytest.fixture(scope="session")
def tiny(compose: Callable[..., Any]) -> Callable[..., Base]:
    """`tiny("quantization=nf4", ...)`: a fresh base of two layers."""

    def load(*overrides: str) -> Base:
        cfg = compose("model=tiny", *overrides)
        return load_base(cfg.model, cfg.quantization, CPU, resolve_dtype(cfg.model, CPU), cfg.cache_dir)

    return load


@pytest.fixture(scope="session")
def trained(compose: Callable[..., Any], tiny: Callable[..., Base]) -> Callable[..., Any]:
    """`trained("peft=dora", ...)`: a tiny base under weights that are no longer what `attach` put there."""

    def build(*overrides: str) -> Any:
        torch.manual_seed(1)  # PEFT draws A
        model = attach(tiny(*overrides).model, compose("model=tiny", *overrides).peft, "tiny")
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += torch.randn(parameter.shape, generator=generator) * 0.05
        return model.eval()

    return build
