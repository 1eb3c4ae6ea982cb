"""Models that reply: a tiny one that says letters, and a real one. One thread: the matrices are small."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from talkers import CPU, recipe_of, talker

from wikillama.generation.bot import Bot
from wikillama.model.base import Base, load_base

torch.set_num_threads(1)  # a second one would only wait


@pytest.fixture(scope="session")
def tiny(compose: Callable[..., Any]) -> Base:
    return talker(compose)


@pytest.fixture
def tiny_bot(tiny: Base, compose: Callable[..., Any]) -> Bot:
    return Bot(tiny.model, tiny.tokenizer, recipe_of(compose, tiny, "model=tiny"))


@pytest.fixture(scope="session")
def smollm2(compose: Callable[..., Any]) -> Bot:
    """The chat model of the demo, not quantized and without an adapter."""
    overrides = ("experiment=demo", "quantization=none", "peft=lora")
    cfg = compose(*overrides)
    base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
    return Bot(base.model, base.tokenizer, recipe_of(compose, base, *overrides))
