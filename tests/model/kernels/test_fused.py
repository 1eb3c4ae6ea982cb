"""The fused step against plain transformers and PEFT, with the same weights on the same batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from wikillama.data.batching import Batch, Collator, PackingCollator
from wikillama.data.encode import Encoded
from wikillama.model.adapters import trainable
from wikillama.model.kernels import ops_torch
from wikillama.model.kernels.fused import FusedLoss
from wikillama.model.kernels.weights import AddedGroup, Call
from wikillama.model.loss import reply_loss

LENGTHS = (37, 50, 21, 12)


def examples() -> list[Encoded]:
    generator = torch.Generator().manual_seed(1)
    return [Encoded(torch.randint(3, 250, (n,), generator=generator).tolist(), n // 2) for n in LENGTHS]


def padded() -> Batch:
    return Collator(pad_id=0)(examples())


def packed() -> Batch:
    first, second, third, fourth = examples()
    return PackingCollator(pad_id=0)([[first, second], [third, fourth]])


def gradients(model: Any, loss: Callable[..., Any], batch: Batch) -> tuple[float, int, dict[str, torch.Tensor]]:
    model.zero_grad(set_to_none=True)
    for name, parameter in trainable(model).items():
        assert parameter.requires_grad, name
    value, count = loss(model, batch)
    value.backward()
    return (
        float(value.detach()),
        int(count),
        {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad},
    )


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    squares = sum((one[name] - other[name]).pow(2).sum() for name in one)
    return float((squares / sum(g.pow(2).sum() for g in other.values())).sqrt())  # type: ignore[union-attr]


@pytest.fixture
def model(trained: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    return trained(*getattr(request, "param", ["peft=qlora", "peft.dropout=0"])).train()


@pytest.mark.parametrize("batch", [padded(), packed()], ids=["padded", "packed"])
@pytest.mark.parametrize("kept", [None, 0, 1])
@pytest.mark.parametrize(
    "model",
    [
        ["peft=qlora", "peft.dropout=0"],
        ["peft=qlora", "peft.dropout=0", "quantization=fp4"],
        ["peft=lora", "peft.dropout=0"],
        ["peft=rslora", "peft.dropout=0", "peft.r=4"],
        ["peft=qlora", "peft.dropout=0", "peft.target_modules=[q_proj,v_proj]"],
        ["peft=qlora", "peft.dropout=0", "peft.target_modules=[down_proj]"],
    ],
    indirect=True,
    ids=["qlora", "fp4", "lora", "rslora", "attention only", "one module"],
)
def test_loss_and_gradients_are_those_of_the_reference(model: Any, kept: int | None, batch: Batch) -> None:
    expected, count, reference = gradients(model, reply_loss, batch)
    found, counted, fused = gradients(model, FusedLoss(model, kept), batch)
    assert counted == count == int((batch["labels"][:, 1:] != -100).sum())
    assert found == pytest.approx(expected, rel=1e-6)
    assert difference(fused, reference) < 1e-5


def test_only_the_layers_asked_for_keep_their_activations(model: Any) -> None:
    kept_bytes = []
    for kept in (2, 1, 0):
        loss, _ = FusedLoss(model, kept)(model, padded())
        node, held = loss.grad_fn.next_functions[0][0], 0
        while node is not None and hasattr(node, "number"):
            held += sum(t.numel() for t in (node.kept.gate_up, node.kept.middle)) if node.kept else 0
            node = node.next_functions[0][0]
        kept_bytes.append(held)
    assert kept_bytes[0] == 2 * kept_bytes[1] > kept_bytes[2] == 0


def test_new_weights_of_an_adapter_are_seen(model: Any) -> None:
    fused = FusedLoss(model)
    fused(model, padded())
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.mul_(3)
    assert float(fused(model, padded())[0]) == pytest.approx(float(reply_loss(model, padded())[0]), rel=1e-6)


def test_without_gradients_nothing_is_kept(model: Any) -> None:
    with torch.no_grad():
        loss, _ = FusedLoss(model)(model, packed())
    assert loss.grad_fn is None
    assert float(loss) == pytest.approx(float(reply_loss(model, packed())[0].detach()), rel=1e-6)


@pytest.mark.parametrize("model", [["peft=qlora", "peft.dropout=0.3"]], indirect=True)
def test_dropout_is_the_same_forward_and_back(model: Any) -> None:
    """The loss along the gradient changes as the gradient says, with one and the same mask."""
    fused = FusedLoss(model)
    assert all(isinstance(group, AddedGroup) for layer in fused.layers for group in layer.groups)
    torch.manual_seed(5)
    value, _, found = gradients(model, fused, padded())
    plain = float(reply_loss(model.eval(), padded())[0].detach())
    assert float(fused(model, padded())[0].detach()) == pytest.approx(plain, rel=1e-6)  # off where nothing is trained
    model.train()
    assert value != pytest.approx(plain, rel=1e-5)
    norm = float(sum(g.pow(2).sum() for g in found.values()) ** 0.5)  # type: ignore[operator]
    step = 1e-3
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter += sign * step * found[name] / norm * (1 if sign == 1 else 2)
        torch.manual_seed(5)
        values.append(float(fused(model, padded())[0].detach()))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(norm, rel=0.02)


def test_the_mask_drops_what_it_should(trained: Callable[..., Any]) -> None:
    model = trained("peft=qlora", "peft.dropout=0.3").train()
    group = FusedLoss(model).layers[0].qkv
    assert isinstance(group, AddedGroup)
    mask = group._mask(4000, Call(torch.empty(0), 3, True))
    assert mask is not None
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float((mask == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert group._mask(4, Call(torch.empty(0), 3, False)) is None


def test_elementwise_backwards_are_what_autograd_says() -> None:
    generator = torch.Generator().manual_seed(0)
    x, dy, residual = (torch.randn(7, 16, dtype=torch.float64, generator=generator) for _ in range(3))
    weight = torch.rand(16, dtype=torch.float64, generator=generator)
    leaf = x.clone().requires_grad_()
    normed = F.rms_norm(leaf, (16,), weight, 1e-5)
    assert torch.allclose(ops_torch.rms_norm(x, weight, 1e-5), normed.detach())
    normed.backward(dy)
    assert torch.allclose(ops_torch.rms_norm_backward(dy, x, weight, 1e-5, residual), leaf.grad + residual)
    gate_up, dh = x.clone(), dy[:, :8].clone()
    leaf = x.clone().requires_grad_()
    h = F.silu(leaf[:, :8]) * leaf[:, 8:]
    h.backward(dh)
    ops_torch.swiglu_backward_(dh, gate_up)
    assert torch.allclose(dh, h.detach())
    assert torch.allclose(gate_up, leaf.grad)
    logits, targets = x.clone(), torch.arange(7)
    leaf = x.clone().requires_grad_()
    losses = F.cross_entropy(leaf, targets, reduction="none")
    losses.sum().backward()
    assert torch.allclose(ops_torch.cross_entropy_(logits, targets), losses.detach())
    assert torch.allclose(logits, leaf.grad)


def test_turning_back_undoes_turning() -> None:
    x = torch.randn(5, 3, 8, dtype=torch.float64)
    angle = torch.rand(5, 4, dtype=torch.float64).repeat(1, 2)
    turned, back = torch.empty_like(x), torch.empty_like(x)
    ops_torch.rope(x, angle.cos(), angle.sin(), out=turned)
    ops_torch.rope(turned, angle.cos(), angle.sin(), out=back, inverse=True)
    assert not torch.allclose(turned, x)
    assert torch.allclose(back, x)
