"""Recipes, and results of systems that nobody has to run."""

from collections.abc import Callable
from typing import Any

import pytest

from wikillama.evaluation.results import Answer, Prediction
from wikillama.model.recipe import Recipe


@pytest.fixture(scope="session")
def recipe(compose: Callable[..., Any]) -> Callable[..., Recipe]:
    """`recipe("model=llama2_7b", "peft=qlora")`: what train.py would write beside the adapter of such a job."""

    def build(*overrides: str) -> Recipe:
        cfg = compose("data=wow_mini", *overrides)
        return Recipe(
            model=cfg.model, base_id=cfg.model.hub_id or f"random/{cfg.model.name}", base_weights_hash="b" * 64,
            dtype="float32", quantization=cfg.quantization, peft=cfg.peft, knowledge=cfg.knowledge, prompt=cfg.prompt,
            max_length=512, max_new_tokens=48,
        )  # fmt: skip

    return build


@pytest.fixture(scope="session")
def turn() -> Callable[..., Prediction]:
    """`turn(3, f1=0.5)`: a system's reply to the third turn; every second turn begins a dialogue."""

    def build(number: int, f1: float, kf1: float | None = 0.5, nll: float | None = 20.0) -> Prediction:
        return Prediction(
            id=f"t{number}", dialogue_id=f"d{number // 2}", topic=None, history=("Hi!",), knowledge=("It rains.",),
            gold_knowledge="It rains.", reference="It rains a lot.", reply="It rains.", f1=f1, kf1=kf1, nll=nll,
            tokens=None if nll is None else 10,
        )  # fmt: skip

    return build


@pytest.fixture(scope="session")
def answer() -> Callable[..., Answer]:
    """`answer(3, "wrong")`: a system's answer to the third question, with its label."""

    def build(number: int, label: str) -> Answer:
        return Answer(f"q{number}", "cars", f"Question {number}?", "Yes.", ("A fact.",), "Yes.", label, 1.0, "words")

    return build
