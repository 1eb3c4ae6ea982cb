"""How runs are named on the command line of compare.py, and what it refuses at once."""

from collections.abc import Callable
from typing import Any

import pytest

from wikillama.config.compare import CompareConfig, check_compare
from wikillama.errors import InputError


@pytest.fixture
def checked(compose: Callable[..., Any]) -> Callable[..., CompareConfig]:
    def check(*overrides: str) -> CompareConfig:
        cfg = compose(*overrides, name="compare")
        check_compare(cfg)
        assert isinstance(cfg, CompareConfig)
        return cfg

    return check


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ("runs=[0123abcd,models:/wiki-llama/3]", ["0123abcd", "models:/wiki-llama/3"]),
        ("runs=[models:/wiki-llama@champion,last:1]", ["models:/wiki-llama@champion", "last:1"]),
        ("runs=last:3", ["last:3"]),
        ("runs=[12345678,9]", ["12345678", "9"]),
        ("parent=12345678", []),
    ],
)
def test_runs_are_named_in_many_ways(checked: Callable[..., CompareConfig], given: str, runs: list[str]) -> None:
    cfg = checked(given)
    assert cfg.runs == runs
    assert cfg.resamples == 10_000
    assert cfg.parent == (None if runs else "12345678")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], r"^compare: give either runs="),
        (["runs=[a,b]", "parent=c"], r"^compare: give either runs="),
        (["runs=[a]"], r"^runs=a: one run cannot be compared; name another, or give runs=last:2$"),
        (["runs=last:1"], r"^runs=last:1: one run cannot be compared"),
        (["runs=last:0"], r"^runs=last:0: one run"),
        (["runs=[a,b,a]"], r"^runs: a is named twice$"),
        (["runs=[a,[b]]"], r"^config: runs.1"),
        (["runs=[a,b]", "resamples=0"], r"^config: resamples=0"),
    ],
)
def test_what_cannot_be_compared(checked: Callable[..., CompareConfig], given: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        checked(*given)
