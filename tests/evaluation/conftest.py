"""Systems under test that are tiny, and know how often they are asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from wikillama.evaluation.system import System
from wikillama.generation import batched
from wikillama.model.base import load_base

torch.set_num_threads(1)  # tiny matrices: a second thread would only wait


@pytest.fixture(scope="session")
def tiny_base(compose: Callable[..., Any]) -> Any:
    """A base of two layers whose replies are letters and depend on the prompt."""
    cfg = compose("model=tiny", name="prepare")
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    generator = torch.Generator().manual_seed(5)
    for parameter in base.model.parameters():
        if parameter.ndim == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    letters = torch.tensor([ord(c) - 33 + 5 for c in "abcdefghijklmnopqrstuvwxyz"])
    base.model.lm_head.weight.data[:] = 0
    base.model.lm_head.weight.data[letters] = torch.randn((26, 64), generator=generator)
    return base


@pytest.fixture(scope="session")
def tiny_prompt(compose: Callable[..., Any]) -> Any:
    return compose("model=tiny", name="evaluate").prompt


@pytest.fixture
def system(tiny_base: Any, tiny_prompt: Any, tmp_path: Path) -> Callable[..., System]:
    """`system("print", load=..., prompt=...)`: a system by its fingerprint, with the memory of this test."""

    def build(fingerprint: str = "print", load: Callable[[], Any] | None = None, prompt: Any = None) -> System:
        return System(
            name=f"system {fingerprint}",
            fingerprint=fingerprint,
            tokenizer=tiny_base.tokenizer,
            prompt=prompt or tiny_prompt,
            max_length=512,
            load=load or (lambda: tiny_base.model),
            cache_dir=str(tmp_path / "cache"),
        )

    return build


@pytest.fixture(scope="session")
def refuse() -> Callable[[], NoReturn]:
    """The `load` of a system of which nothing may be asked."""

    def load() -> NoReturn:
        raise AssertionError("the model was loaded")

    return load


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts each batch holds that a model generates from, as it goes."""
    sizes: list[int] = []
    greedy = batched._greedy

    def counted(model: Any, prompts: list[list[int]], *rest: Any) -> Any:
        sizes.append(len(prompts))
        return greedy(model, prompts, *rest)

    monkeypatch.setattr(batched, "_greedy", counted)
    return sizes
