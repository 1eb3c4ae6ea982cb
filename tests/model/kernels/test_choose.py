"""Which kernels are taken where, and what is said of it. This machine may have no GPU; then `auto` is the reference."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wikillama.errors import InputError
from wikillama.model.kernels.choose import Recomputation, choose_kernels
from wikillama.model.kernels.fused import FusedLoss
from wikillama.model.loss import reply_loss

KEPT = Recomputation()


def test_auto_on_a_cpu_is_the_reference_without_a_word(trained: Callable[..., Any]) -> None:
    kernels = choose_kernels("auto", trained("peft=qlora"), KEPT)
    assert (kernels.name, kernels.loss, kernels.remark) == ("reference", reply_loss, None)


def test_fused_runs_on_a_cpu_when_asked(trained: Callable[..., Any]) -> None:
    kernels = choose_kernels("fused", trained("peft=qlora"), Recomputation(1))
    assert kernels.name == "fused"
    assert kernels.remark is None
    assert isinstance(kernels.loss, FusedLoss)
    assert kernels.loss.keeps == {1}


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["peft=dora"], "DoRA"),
        (["peft=lora", "quantization=int8"], "int8 weights"),
        (["peft=none"], "training of all weights"),
    ],
)
def test_what_fused_does_not_compute_falls_back_in_a_line(
    trained: Callable[..., Any], overrides: list[str], reason: str
) -> None:
    kernels = choose_kernels("fused", trained(*overrides), KEPT)
    assert (kernels.name, kernels.loss) == ("reference", reply_loss)
    assert kernels.remark == f"kernels: reference, since fused does not compute {reason}"


def test_the_reference_recomputes_by_checkpointing(trained: Callable[..., Any]) -> None:
    model = trained("peft=lora").train()
    assert choose_kernels("reference", model, Recomputation(0)).loss is reply_loss
    assert model.get_base_model().is_gradient_checkpointing


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp8_without_such_a_gpu_is_refused(trained: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"kernels=fp8 does not run here \(no 8-bit floating point on this device\)"):
        choose_kernels("fp8", trained("peft=qlora"), KEPT)
