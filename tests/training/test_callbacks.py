"""Looking at a model while it trains: when it is done, what it costs, and that it changes nothing."""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from wikillama.model.adapters import speaking_as


class Disturbing:
    """Does to the process and to the model what replying could do, and worse."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.steps: list[int] = []
        self.logits: list[torch.Tensor] = []

    def __call__(self, model: Any, step: int) -> None:
        self.steps.append(step)
        torch.manual_seed(step)
        np.random.seed(step)
        random.seed(step)
        model.eval()
        with torch.inference_mode():
            self.logits.append(model(input_ids=torch.arange(1, 9)[None]).logits)
            with speaking_as(model, None):
                model(input_ids=torch.arange(1, 9)[None])
        time.sleep(self.seconds)


@pytest.mark.parametrize("overrides", [["peft=qlora"], ["peft=none", "optim.lr=0.001"]], ids=["qlora", "all weights"])
def test_samples_change_nothing(small: Callable[..., Any], run_fit: Callable[..., Any], overrides: list[str]) -> None:
    cfg = small("trainer.validations_per_epoch=2", "trainer.max_epochs=2", *overrides)
    disturbing = Disturbing()
    plain, watched = run_fit(cfg, "plain"), run_fit(cfg, "watched", sample=disturbing)
    for metric in ("train/loss", "val/loss"):
        assert watched.series(metric) == plain.series(metric)
    assert all(torch.equal(watched.after[name], plain.after[name]) for name in plain.before)
    assert disturbing.steps == [0, 5, 10, 15, 20]


def test_samples_see_the_weights_of_their_step(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    disturbing = Disturbing()
    run_fit(small("trainer.validations_per_epoch=2"), sample=disturbing)
    first, second, third = disturbing.logits
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_samples_stand_outside_the_clock(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    fitted = run_fit(small("data.limit_train=8"), sample=Disturbing(seconds=2.0))
    assert fitted.result.seconds > 4
    tokens = 8 * 96  # at most: 8 turns of 96 tokens
    assert fitted.result.tokens_per_s > tokens / 2.0


def test_a_resumed_run_is_not_sampled_at_its_start(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    whole, rest = Disturbing(), Disturbing()
    cfg = small("trainer.max_epochs=2")
    fitted = run_fit(cfg, sample=whole)
    run_fit(cfg, resume_from=fitted.checkpoints / "last.ckpt", sample=rest)
    assert (whole.steps, rest.steps) == ([0, 10, 20], [])
