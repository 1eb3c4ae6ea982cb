"""A tiny model that talks: letters, which depend on what it is asked, in a few milliseconds each."""

from collections.abc import Callable
from typing import Any

import torch

from wikillama.generation.bot import Bot
from wikillama.model.base import Base, load_base
from wikillama.model.recipe import Recipe

CPU = torch.device("cpu")
_LETTERS = [ord(c) - 33 + 5 for c in "abcdefghijklmnopqrstuvwxyz"]  # ids of the byte tokenizer


def talker(compose: Callable[..., Any]) -> Base:
    """A tiny base with weights larger than usual, so that replies depend on prompts and vary."""
    cfg = compose("model=tiny", name="prepare")
    base = load_base(cfg.model, cfg.quantization, CPU, torch.float32, cfg.cache_dir)
    generator = torch.Generator().manual_seed(5)
    for parameter in base.model.parameters():
        if parameter.ndim == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    head = base.model.lm_head.weight.data
    head[:] = 0
    head[_LETTERS] = torch.randn((26, head.shape[1]), generator=generator)
    return base


def recipe_of(compose: Callable[..., Any], base: Base, *overrides: str, **limits: int) -> Recipe:
    """What train.py would write down of a configuration."""
    cfg = compose(*overrides)
    return Recipe(
        model=cfg.model, base_id=base.id, base_weights_hash=base.weights_hash, dtype="float32",
        quantization=cfg.quantization, peft=cfg.peft, knowledge=cfg.knowledge, prompt=cfg.prompt,
        **{"max_length": 512, "max_new_tokens": 24, **limits},
    )  # fmt: skip


def talking_bot(compose: Callable[..., Any], **limits: int) -> Bot:
    """It never stops by itself: a reply has as many letters as it may have."""
    base = talker(compose)
    return Bot(base.model, base.tokenizer, recipe_of(compose, base, "model=tiny", **limits))
