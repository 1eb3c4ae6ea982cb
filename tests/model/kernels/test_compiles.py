"""Every Triton kernel, compiled for each generation of GPUs without one at hand: `make kernels` brings Triton along."""

from typing import Any

import pytest

triton = pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from wikillama.model.kernels import fp8_triton, nf4_triton, ops_triton  # noqa: E402

AMPERE, AMPERE_GEFORCE, ADA, HOPPER, BLACKWELL, BLACKWELL_GEFORCE = 80, 86, 89, 90, 100, 120
ALL = (AMPERE, AMPERE_GEFORCE, ADA, HOPPER, BLACKWELL, BLACKWELL_GEFORCE)
WITH_FP8 = (ADA, HOPPER, BLACKWELL, BLACKWELL_GEFORCE)
LEAST_SHARED = 99 * 1024  # bytes that a block has on each of them
PACKED = {"packed": "*u8", "code": "*fp32", "absmax": "*u8", "code2": "*fp32", "absmax2": "*fp32", "offset": "fp32"}
PLAIN = PACKED | {"absmax": "*fp32"}
NESTED = {"BLOCK": 64, "BLOCK2": 256, "NESTED": True}
HEADS = "heads x_token x_head y_token y_head"
TURNED = "heads kv_heads q_token q_head k_token k_head v_token v_head"


def of(types: dict[str, str], integers: str, **constants: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """A kernel's signature: pointers and floats, 32-bit integers, constants."""
    return types | dict.fromkeys(integers.split(), "i32") | dict.fromkeys(constants, "constexpr"), constants


def bf16(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), "*bf16")


def merged(rank: int, types: dict[str, str] = PACKED, nested: bool = True) -> Any:
    constants = NESTED | {"NESTED": nested, "LOW_RANK": rank > 0, "RANK": max(rank, 16), "BN": 64}
    return nf4_triton._merged_kernel, of(types | bf16("A B") | {"out": "*i32"}, "N K R b_row seed", **constants), 4


EIGHT_BITS = PACKED | {"inverse_scales": "*fp32", "out": "*fp8e4nv"}
KERNELS: dict[str, tuple[Any, tuple[dict[str, str], dict[str, Any]], int]] = {
    "unpack": merged(0),
    "unpack, without double quantization": merged(16, PLAIN, nested=False),
    "unpack, rank 16": merged(16),
    "unpack, rank 64": merged(64),
    "unpack, rank 256": merged(256),
    "add": (nf4_triton._dense_kernel, of(bf16("W A B out"), "N K R b_row seed", RANK=16, BN=64, BK=128), 8),
    "add, rank 256": (nf4_triton._dense_kernel, of(bf16("W A B out"), "N K R b_row seed", RANK=256, BN=32, BK=64), 8),
    "norm": (ops_triton._rms_norm_kernel, of(bf16("X W Y") | {"eps": "fp32"}, "D", BD=4096), 8),
    "norm, back": (
        ops_triton._rms_norm_backward_kernel,
        of(bf16("DY X W R DX") | {"eps": "fp32"}, "D", HAS_R=True, BD=8192), 8,
    ),
    "rope": (ops_triton._rope_kernel, of(bf16("X Y COS SIN"), HEADS, D=128, BD=64, HB=16), 4),
    "rope, back": (
        ops_triton._rope_backward_kernel, of(bf16("DQ DK DV Y COS SIN"), TURNED, D=96, BD=64, HB=8), 4
    ),
    "swiglu": (ops_triton._swiglu_kernel, of(bf16("GU H"), "F", BF=2048), 4),
    "swiglu, back": (ops_triton._swiglu_backward_kernel, of(bf16("DH GU"), "F", BF=2048), 4),
    "cross entropy": (
        ops_triton._cross_entropy_kernel, of(bf16("LOGITS") | {"TARGETS": "*i64", "LOSSES": "*fp32"}, "V", BV=4096), 8
    ),
    "fp8": (fp8_triton._unpack_kernel, of(EIGHT_BITS, "N K", **NESTED, BN=128), 4),
    "fp8, transposed": (
        fp8_triton._unpack_transposed_kernel, of(EIGHT_BITS, "N K first_row stride", **NESTED, BN=128), 4
    ),
    "fp8, tokens": (
        fp8_triton._quantize_rows_kernel, of(bf16("X") | {"Y": "*fp8e4nv", "SCALES": "*fp32"}, "D stride", BD=16_384), 8
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_it_compiles_for_every_gpu_and_fits_its_shared_memory(name: str) -> None:
    kernel, (types, constants), warps = KERNELS[name]
    signature = {argument: types[argument] for argument in kernel.arg_names}
    assert signature.keys() == types.keys()
    for capability in WITH_FP8 if name.startswith("fp8") else ALL:
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, GPUTarget("cuda", capability, 32), options={"num_warps": warps})
        assert compiled.metadata.shared <= LEAST_SHARED, capability
