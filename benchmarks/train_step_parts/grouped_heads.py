"""Fewer key heads than query heads on torch 2.11, for measuring there."""

import inspect
from typing import Any


def allow_grouped_heads() -> None:
    """Have torch 2.11's variable-length attention take fewer key heads than query heads.

    It lacks the option `enable_gqa` that the fused layers pass from torch 2.12 on, but neither does it look at the
    number of heads, and its kernels share key heads as they are.
    """
    from wikillama.model.kernels import attention

    plain = attention.varlen_attn  # type: ignore[attr-defined]
    if "enable_gqa" in inspect.signature(plain).parameters:
        return

    def shared(q: Any, k: Any, v: Any, *others: Any, enable_gqa: bool = False, **options: Any) -> Any:
        return plain(q, k, v, *others, **options)

    attention.varlen_attn = shared  # type: ignore[attr-defined,assignment]
