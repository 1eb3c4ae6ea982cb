"""How much is asked together within a budget of memory."""

from collections.abc import Callable
from typing import Any

from wikillama.jobs.train.score import within_budget


def test_a_budget_bounds_the_tokens_asked_together(compose: Callable[..., Any]) -> None:
    given = ("model=llama2_7b", "data=wow_mini")
    free, wide, tight = (
        within_budget(compose(*given, *more)).batch_tokens
        for more in ((), ("trainer.memory_budget_gb=80",), ("trainer.memory_budget_gb=8",))
    )
    assert free == wide == compose(*given).evaluation.batch_tokens
    assert 500 < tight < 6000
