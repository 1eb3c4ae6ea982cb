"""What a fit leaves behind, and what must not change it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.data.batching import Collator
from wikillama.model.loss import reply_loss


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(one.after[name], other.after[name]) for name in one.before)


def valid_loss(fitted: Any, cfg: Any, data_of: Callable[..., Any]) -> float:
    with torch.no_grad():
        loss, tokens = reply_loss(fitted.model, Collator(pad_id=0)(list(data_of(cfg).valid)))
    return float(loss / tokens)


def test_it_learns(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    fitted = run_fit(small("peft=none", "trainer.max_epochs=3", "optim.lr=0.01"))
    losses = fitted.series("val/loss")
    assert losses == sorted(losses, reverse=True)
    assert losses[0] - losses[-1] > 0.05
    assert fitted.result.steps == 30
    assert not any(torch.equal(fitted.after[name], start) for name, start in fitted.before.items())
    assert not fitted.model.training


def test_it_logs_what_the_design_names(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    fitted = run_fit(small())
    names = {name for row in fitted.log for name in row}
    assert {"train/loss", "train/target_tokens", "train/tokens_per_s", "val/loss", "val/ppl", "memory/peak_gb"} <= names
    (loss,), (ppl,) = fitted.series("val/loss"), fitted.series("val/ppl")
    assert torch.tensor(loss).exp().item() == pytest.approx(ppl, rel=1e-4)
    assert all(rate > 0 for rate in fitted.series("train/tokens_per_s"))


def test_the_best_weights_are_left(
    small: Callable[..., Any], run_fit: Callable[..., Any], data_of: Callable[..., Any]
) -> None:
    """With a rate that ruins it, the model is best early on; two worse validations end it."""
    cfg = small("peft=none", "trainer.max_epochs=20", "trainer.patience=2", "optim.lr=0.1", "schedule=constant")
    fitted = run_fit(cfg)
    losses = fitted.series("val/loss")
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2
    assert fitted.result.steps == 10 * len(losses)
    assert fitted.result.best_val_loss == pytest.approx(min(losses), rel=1e-5)
    assert valid_loss(fitted, cfg, data_of) == pytest.approx(min(losses), rel=1e-5)
    assert valid_loss(fitted, cfg, data_of) < losses[-1]


def test_without_patience_it_goes_on(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    fitted = run_fit(small("trainer.max_epochs=4", "trainer.patience=null", "optim.lr=0.3", "schedule=constant"))
    assert fitted.result.steps == 40


def test_seeds(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    one, two = (run_fit(small("seed=7"), name) for name in ("one", "two"))
    other = run_fit(small("seed=8"), "other")
    assert same(one, two)
    assert one.series("train/loss") == two.series("train/loss")
    assert not same(one, other)


def test_gradient_checkpointing_changes_nothing(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    plain = run_fit(small(), "plain")
    recomputed = run_fit(small("trainer.gradient_checkpointing=true"), "recomputed")
    assert recomputed.model.get_base_model().is_gradient_checkpointing
    assert recomputed.series("train/loss") == pytest.approx(plain.series("train/loss"), rel=1e-6)
    for name in plain.before:
        torch.testing.assert_close(recomputed.after[name], plain.after[name])


@pytest.mark.parametrize("peft", ["none", "dora", "rslora", "lora"])
def test_every_kind_trains(small: Callable[..., Any], run_fit: Callable[..., Any], peft: str) -> None:
    fitted = run_fit(small(f"peft={peft}", "trainer.max_steps=3"))
    assert fitted.result.steps == 3
    assert len(fitted.series("val/loss")) == 1  # at the end, though that is not the end of an epoch
    assert any(not torch.equal(fitted.after[name], start) for name, start in fitted.before.items())


@pytest.mark.parametrize(("a_epoch", "times"), [(1, 1), (2, 2), (4, 4)])
def test_validations_per_epoch(
    small: Callable[..., Any], run_fit: Callable[..., Any], a_epoch: int, times: int
) -> None:
    """Ten batches do not divide by four; the last validation sees the weights of the end all the same."""
    fitted = run_fit(small(f"trainer.validations_per_epoch={a_epoch}", "trainer.patience=null"))
    assert len(fitted.series("val/loss")) == times


def test_fused_kernels_train_the_same(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    plain, fused = (run_fit(small(f"kernels={name}"), name) for name in ("reference", "fused"))
    assert fused.series("train/loss") == pytest.approx(plain.series("train/loss"), rel=1e-4)
    assert fused.result.best_val_loss == pytest.approx(plain.result.best_val_loss, rel=1e-4)
