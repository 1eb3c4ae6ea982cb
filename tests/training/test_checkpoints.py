"""Checkpoints: small, safe to load, and a run that goes on from one ends as if it had never stopped."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wikillama.data.prepared import EncodedExamples
from wikillama.errors import InputError
from wikillama.training.fit import FitResult


class PowerCutError(Exception):
    pass


class Failing(EncodedExamples):
    """Examples of which only so many can be read."""

    def __init__(self, examples: EncodedExamples, readable: int) -> None:
        self.examples, self.left, self.lengths = examples, readable, examples.lengths

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise PowerCutError
        return self.examples[place]


def state(folder: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(folder / f"{name}.ckpt", weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("peft", ["qlora", "lora"])
def test_a_checkpoint_holds_no_base_weight(small: Callable[..., Any], run_fit: Callable[..., Any], peft: str) -> None:
    fitted = run_fit(small(f"peft={peft}", "peft.r=256", "data.limit_train=8"))
    for name in ("best", "last"):
        saved = state(fitted.checkpoints, name)
        assert set(saved["state_dict"]) == {f"model.{name}" for name in fitted.before}
        assert all("lora_" in key for key in saved["state_dict"])
        adapter = sum(p.numel() * 4 for p in fitted.before.values())
        assert (fitted.checkpoints / f"{name}.ckpt").stat().st_size < 1.05 * 3 * adapter  # and Adam's two moments


@pytest.mark.parametrize(
    "overrides",
    [
        ["peft=qlora"],
        ["peft=qlora", "trainer.accumulate_grad_batches=3", "trainer.validations_per_epoch=3"],
        ["peft=lora", "trainer.gradient_checkpointing=true", "trainer.patience=50"],
        ["peft=none", "optim.lr=0.001", "trainer.validations_per_epoch=2"],
        ["peft=lora", "packing=bestfit", "packing.length=256"],
    ],
    ids=["qlora", "windows", "gradient checkpointing", "all weights", "packed"],
)
@pytest.mark.parametrize("batches", [8, 13])
def test_resumed_equals_uninterrupted(
    small: Callable[..., Any], run_fit: Callable[..., Any], data_of: Callable[..., Any], tmp_path: Path,
    overrides: list[str], batches: int,
) -> None:  # fmt: skip
    """Ten batches an epoch, two epochs; cut off in one of them, after a validation has left a checkpoint."""
    dropout = [] if "peft=none" in overrides else ["peft.dropout=0.05"]
    cfg = small("trainer.validations_per_epoch=5", "trainer.max_epochs=2", *overrides, *dropout)
    assert cfg.peft.method == "none" or cfg.peft.dropout > 0
    whole = run_fit(cfg, "whole")
    with pytest.raises(PowerCutError):
        run_fit(cfg, "cut", train=Failing(data_of(cfg).train, 4 * batches))
    left = tmp_path / "cut" / "checkpoints"
    assert 0 < state(left)["global_step"] < whole.result.steps
    shutil.rmtree(tmp_path / "cut" / "lightning_logs")
    resumed = run_fit(cfg, "cut", resume_from=left / "last.ckpt")
    assert resumed.series("val/loss") == whole.series("val/loss")[-len(resumed.series("val/loss")) :]
    assert resumed.series("train/loss") == whole.series("train/loss")[-len(resumed.series("train/loss")) :]
    assert resumed.result.steps == whole.result.steps
    assert resumed.result.best_val_loss == whole.result.best_val_loss
    for name in ("last", "best"):
        ours, theirs = (state(fitted.checkpoints, name)["state_dict"] for fitted in (resumed, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert all(torch.equal(resumed.after[name], whole.after[name]) for name in whole.before)


def test_a_finished_run_is_resumed_to_its_end(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    cfg = small("data.limit_train=8")
    whole = run_fit(cfg)
    again = run_fit(cfg, resume_from=whole.checkpoints / "last.ckpt")
    assert isinstance(again.result, FitResult)
    assert again.result.steps == whole.result.steps
    assert all(torch.equal(again.after[name], whole.after[name]) for name in whole.before)


@pytest.mark.parametrize("other", ["peft.r=3", "peft.target_modules=[q_proj]", "peft=none"])
def test_a_checkpoint_of_another_job_is_refused(
    small: Callable[..., Any], run_fit: Callable[..., Any], other: str
) -> None:
    fitted = run_fit(small("data.limit_train=8"))
    with pytest.raises(InputError, match=r"resume: .* does not fit this job"):
        run_fit(small("data.limit_train=8", other), resume_from=fitted.checkpoints / "last.ckpt")


def test_a_broken_checkpoint_is_refused(small: Callable[..., Any], run_fit: Callable[..., Any]) -> None:
    file = run_fit(small("data.limit_train=8")).checkpoints / "last.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"resume: .*last\.ckpt"):
        run_fit(small("data.limit_train=8"), resume_from=file)
