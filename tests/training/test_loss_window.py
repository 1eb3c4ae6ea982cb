"""The loss of an optimizer step is the mean over the target tokens of its whole accumulation window."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.data.batching import Collator
from wikillama.data.encode import Encoded
from wikillama.model.adapters import attach, trainable
from wikillama.model.base import load_base
from wikillama.model.loss import reply_loss

TARGETS = (2, 3, 60, 80)
# Adam with an enormous eps is plain gradient descent with rate lr / eps = 1
DESCENT = [
    "optim.lr=1.0e6", "optim.eps=1.0e6", "schedule=constant", "schedule.warmup_ratio=0", "peft=lora", "peft.dropout=0",
    "trainer.gradient_clip_norm=0", "trainer.accumulate_grad_batches=1",
]  # fmt: skip


def ragged() -> list[Encoded]:
    generator = torch.Generator().manual_seed(0)
    return [Encoded(torch.randint(512, (7 + n,), generator=generator).tolist(), 7) for n in TARGETS]


def steps_taken(fitted: Any) -> torch.Tensor:
    return torch.cat([(fitted.after[name] - start).flatten() for name, start in fitted.before.items()])


def gradient(cfg: Any, weights: list[float], like: dict[str, torch.Tensor]) -> tuple[torch.Tensor, float]:
    """By hand: the gradient and value of a weighted sum of the four losses, at the weights `like`."""
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    model = attach(base.model, cfg.peft, base.id)
    model.load_state_dict(like, strict=False)
    total = torch.zeros(())
    for example, weight in zip(ragged(), weights, strict=True):
        total = total + weight * reply_loss(model, Collator(0)([example]))[0]
    total.backward()
    return torch.cat([p.grad.flatten() for p in trainable(model).values()]), total.item()  # type: ignore[union-attr]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize(("batch_size", "windows"), [(4, 1), (2, 2), (1, 4), (1, 8)])
def test_a_window_takes_the_step_of_one_batch(
    small: Callable[..., Any], run_fit: Callable[..., Any], batch_size: int, windows: int
) -> None:
    """Eight is more than there are: the epoch ends inside the window."""
    cfg = small(*DESCENT, f"trainer.batch_size={batch_size}", f"trainer.accumulate_grad_batches={windows}")
    fitted = run_fit(cfg, train=ragged())
    assert fitted.result.steps == 1
    by_tokens, loss = gradient(cfg, [1 / sum(TARGETS)] * 4, fitted.before)
    by_means, mean_of_means = gradient(cfg, [1 / (4 * n) for n in TARGETS], fitted.before)
    assert apart(by_tokens, -steps_taken(fitted)) < 1e-3
    assert apart(by_tokens, by_means) > 0.3  # so that the line above says something
    assert fitted.series("train/loss") == [pytest.approx(loss, rel=1e-5)]
    assert mean_of_means != pytest.approx(loss, rel=1e-4)
    assert fitted.series("train/target_tokens") == [sum(TARGETS)]


def test_windows_do_not_leak_into_each_other(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    cfg = small(*DESCENT, "trainer.batch_size=1", "trainer.accumulate_grad_batches=3", "trainer.max_epochs=2")
    fitted = run_fit(cfg, train=ragged())
    tokens = fitted.series("train/target_tokens")
    assert len(tokens) == 4  # of three batches and one, twice
    assert tokens[0] + tokens[1] == tokens[2] + tokens[3] == sum(TARGETS)


def test_clipping_sees_the_mean_gradient(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    """Were sums clipped and then divided, the step would be shorter by the number of tokens."""
    windows = ["trainer.batch_size=1", "trainer.accumulate_grad_batches=4"]
    free = steps_taken(run_fit(small(*DESCENT, *windows), "free", train=ragged()))
    norm = float(free.norm())
    loose = run_fit(small(*DESCENT, *windows, f"trainer.gradient_clip_norm={2 * norm}"), "loose", train=ragged())
    tight = run_fit(small(*DESCENT, *windows, f"trainer.gradient_clip_norm={norm / 2}"), "tight", train=ragged())
    assert apart(free, steps_taken(loose)) < 1e-5
    assert apart(free / 2, steps_taken(tight)) < 1e-3
