"""The kernels on a GPU: skipped where there is none."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from torch.nn.attention import SDPBackend
from torch.nn.attention.varlen import varlen_attn

from wikillama.config.paths import ROOT
from wikillama.data.batching import Batch, Collator, PackingCollator
from wikillama.data.encode import Encoded
from wikillama.model.adapters import attach, trainable
from wikillama.model.base import load_base
from wikillama.model.kernels.fp8 import has_fp8
from wikillama.model.kernels.fused import FusedLoss
from wikillama.model.loss import reply_loss

GPU = torch.device("cuda", 0)
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GROUPED = pytest.param(
    ["model.architecture.num_key_value_heads=2"],
    marks=pytest.mark.skipif("enable_gqa" not in inspect.signature(varlen_attn).parameters, reason="torch before 2.12"),
)
# e4m3 has three bits behind the point: half a unit is 1/16 of a value, and 2^-10 below its smallest normal number
E4M3_STEP, E4M3_FLOOR = 2**-4, 2**-10


def batch(pack: bool) -> Batch:
    draw = torch.Generator().manual_seed(1)
    rows = [Encoded(torch.randint(3, 250, (n,), generator=draw).tolist(), n // 2) for n in (137, 50, 221, 112)]
    made = PackingCollator(0)([rows[:2], rows[2:]]) if pack else Collator(0)(rows)
    return {name: tensor.to(GPU) for name, tensor in made.items()}


@pytest.fixture
def build(compose: Callable[..., Any]) -> Callable[..., Any]:
    """`build("peft.dropout=0.3")`: a small model in bfloat16 on the GPU, under adapters that do something."""

    def built(*overrides: str) -> Any:
        cfg = compose(
            "model=tiny", "peft=qlora", "peft.dropout=0", "model.architecture.hidden_size=256",
            "model.architecture.intermediate_size=512", "model.architecture.num_key_value_heads=4", *overrides,
        )  # fmt: skip
        base = load_base(cfg.model, cfg.quantization, GPU, torch.bfloat16, cfg.cache_dir)
        model = attach(base.model, cfg.peft, "tiny")
        draw = torch.Generator().manual_seed(1)
        for parameter in trainable(model).values():
            parameter.data += (torch.randn(parameter.shape, generator=draw) * 0.05).to(GPU)
        return model.train()

    return built


def gradient(model: Any, loss: Callable[..., Any], of: Batch) -> tuple[float, torch.Tensor]:
    """The mean loss of a target, and its gradient for all adapters in a row, float64."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(3)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=next(model.parameters()).dtype != torch.float32):
        total, targets = loss(model, of)
    (total / targets).backward()
    values = torch.cat([p.grad.detach().double().flatten() for p in trainable(model).values() if p.grad is not None])
    return float(total.detach() / targets), values


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("quantization", ["nf4", "fp4"])
@pytest.mark.parametrize("double", ["true", "false"])
def test_weights_are_unpacked_as_bitsandbytes_does(build: Callable[..., Any], quantization: str, double: str) -> None:
    from wikillama.model.kernels import nf4_triton

    model = build(f"quantization={quantization}", f"quantization.double_quant={double}")
    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            expected = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            out = torch.full_like(expected, torch.nan)
            nf4_triton.unpack(module.weight.quant_state, module.weight.data, out, None, None, 0)
            assert torch.equal(out, expected)


def test_adapters_are_formed_in_the_weights_and_right_in_the_mean(build: Callable[..., Any]) -> None:
    from wikillama.model.kernels import nf4_triton

    module = next(m for m in build().modules() if isinstance(m, bnb.nn.Linear4bit))
    state = module.weight.quant_state
    plain = bnb.functional.dequantize_4bit(module.weight.data, state)
    draw = torch.Generator(GPU).manual_seed(0)
    a = torch.randn(16, plain.shape[1], generator=draw, device=GPU).mul_(2e-3).bfloat16()
    b = torch.randn(plain.shape[0], 16, generator=draw, device=GPU).mul_(2e-3).bfloat16()
    wanted = plain.double() + b.double() @ a.double()
    total, draws = torch.zeros_like(wanted), 400
    out = torch.empty_like(plain)
    for seed in range(draws):
        nf4_triton.unpack(state, module.weight.data, out, a, b, seed)
        assert float(((out.double() - wanted).abs() / wanted.abs().clamp(min=1e-3)).max()) < 2**-6
        total += out.double()
    update = wanted - plain.double()
    found = total / draws - plain.double()
    assert float((found * update).sum() / (update * update).sum()) == pytest.approx(1, abs=0.05)  # none is lost


def test_eight_bit_weights_are_the_four_bit_ones_to_their_precision(build: Callable[..., Any]) -> None:
    if not has_fp8(GPU):
        pytest.skip("no 8-bit floating point on this GPU")
    from wikillama.model.kernels import fp8_triton

    for module in build().modules():
        if not isinstance(module, bnb.nn.Linear4bit):
            continue
        weight = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state).float()
        rows, columns = weight.abs().amax(1) / 448, weight.abs().amax(0) / 448
        out = torch.empty(weight.shape, dtype=torch.float8_e4m3fn, device=GPU)
        fp8_triton.unpack(module.weight, out, 1 / rows)
        away = (out.float() * rows[:, None] - weight).abs()
        assert bool((away <= weight.abs() * E4M3_STEP + rows[:, None] * E4M3_FLOOR + 1e-3 * weight.abs()).all())
        turned = torch.empty(weight.shape[1], weight.shape[0], dtype=torch.float8_e4m3fn, device=GPU)
        fp8_triton.unpack_transposed(module.weight, turned, 0, 1 / columns)
        away = (turned.float().t() * columns[None, :] - weight).abs()
        assert bool((away <= weight.abs() * E4M3_STEP + columns[None, :] * E4M3_FLOOR + 1e-3 * weight.abs()).all())


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize(
    "overrides", [[], GROUPED, ["peft.target_modules=[q_proj,v_proj]"], ["peft=rslora", "peft.dropout=0"]]
)
def test_loss_and_gradients_are_as_near_to_float32_as_the_reference(
    build: Callable[..., Any], pack: bool, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    twin = importlib.import_module("convergence_parts.parity").in_float32
    model, of = build(*overrides), batch(pack)
    exact, truth = gradient(twin(model), reply_loss, of)
    expected, reference = gradient(model, reply_loss, of)
    ways = {"kept": FusedLoss(model), "again": FusedLoss(model, 0), "away": FusedLoss(model, 0, offload=True)}
    for name, loss in ways.items():
        for _ in range(2):  # the second time from memory of the host that is there already
            found, fused = gradient(model, loss, of)
            assert found == pytest.approx(expected, rel=1e-3), name
            assert found == pytest.approx(exact, rel=1e-3), name
            assert distance(fused, truth) < max(1e-2, 1.5 * distance(reference, truth)), name


def test_layers_computed_again_give_the_same_gradients(build: Callable[..., Any]) -> None:
    model, of = build(), batch(pack=True)
    _, kept = gradient(model, FusedLoss(model), of)
    for kept_layers, offload in ((0, False), (0, True), (1, True)):
        assert distance(gradient(model, FusedLoss(model, kept_layers, offload), of)[1], kept) < 1e-4


@pytest.mark.parametrize("fp8", [False, True])
def test_dropout_is_the_same_forward_and_back(build: Callable[..., Any], fp8: bool) -> None:
    """With one mask, the loss along the gradient changes as the gradient says; without dropout it is another."""
    if fp8 and not has_fp8(GPU):
        pytest.skip("no 8-bit floating point on this GPU")
    model, of = build("peft.dropout=0.3"), batch(pack=True)
    for kept in (None, 0):
        loss = FusedLoss(model, kept, fp8=fp8)
        value, found = gradient(model, loss, of)
        assert value == gradient(model, loss, of)[0]
        step = 0.08 / float(found.norm())  # far above the rounding of bfloat16, and nearly a straight line
        values = []
        for sign in (1, -2, 1):
            place = 0
            for parameter in trainable(model).values():
                piece = found[place : place + parameter.numel()].view_as(parameter)
                parameter.data += (sign * step * piece).to(parameter.dtype)
                place += parameter.numel()
            values.append(gradient(model, loss, of)[0])
        rise = (values[0] - values[1]) / (2 * step)
        assert rise == pytest.approx(float(found.norm() ** 2), rel=0.25 if fp8 else 0.1)
    model.eval()
    assert gradient(model, FusedLoss(model, fp8=fp8), of)[0] != pytest.approx(value, rel=1e-5)


def test_eight_bit_products_stay_near_the_reference(build: Callable[..., Any]) -> None:
    if not has_fp8(GPU):
        pytest.skip("no 8-bit floating point on this GPU")
    model, of = build(), batch(pack=True)
    expected, reference = gradient(model, reply_loss, of)
    found, values = gradient(model, FusedLoss(model, fp8=True), of)
    assert found == pytest.approx(expected, rel=5e-3)
    assert float(torch.nn.functional.cosine_similarity(values, reference, dim=0)) > 0.98


def test_attention_is_not_planned_anew_for_each_length(build: Callable[..., Any]) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    build()
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    q, k = torch.ones(1, 4, 1, 64, device=GPU).bfloat16(), torch.ones(1, 4, 37, 64, device=GPU).bfloat16()
    chosen = SDPBackend(torch._fused_sdp_choice(q, k, k))
    assert chosen in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
