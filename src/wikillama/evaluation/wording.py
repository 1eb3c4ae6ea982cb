"""Figures as the report writes them."""

import math
from collections.abc import Callable

from wikillama.evaluation.resampling import Estimate

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
ALPHA = 0.05


def share(value: float) -> str:
    """A share without its leading zero: `.610`, `1.000`, `−.015`; a dash for nan."""
    return _signed(value, f"{abs(value):.3f}".removeprefix("0"))


def decimals(value: float, digits: int) -> str:
    """A figure with so many decimals, thousands parted: `1,024.50`; a dash for nan."""
    return _signed(value, f"{abs(value):,.{digits}f}")


def _signed(value: float, magnitude: str) -> str:
    if math.isnan(value):
        return NOTHING
    return f"{MINUS}{magnitude}" if value < 0 and magnitude.strip("0.,") else magnitude


def with_interval(estimate: Estimate, shown: Callable[[float], str] = share, between: str = ",") -> str:
    """`.610 [.541,.675]`, or the value alone where there is no interval."""
    if math.isnan(estimate.low):
        return shown(estimate.value)
    return f"{shown(estimate.value)} [{shown(estimate.low)}{between}{shown(estimate.high)}]"


def points(difference: Estimate, signed: bool = True) -> str:
    """A difference of shares in percentage points: `+13.5 points [+7.0, +20.5]`."""

    def shown(value: float) -> str:
        text = decimals(100 * value, 1)
        return f"+{text}" if signed and round(value, 3) > 0 else text

    return with_interval(difference, shown, ", ").replace(" [", " points [")


def p_value(p: float) -> str:
    """`p = .022`, `p = .0004`, `p < .0001`."""
    if p < 0.0001:
        return "p < .0001"
    return f"p = {f'{p:.4f}' if p < 0.001 else f'{p:.3f}'}".replace("= 0.", "= .")


def count(n: int, noun: str) -> str:
    """`1 question`, `200 questions`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
