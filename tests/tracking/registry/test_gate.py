"""Which version is worse: paired where both answered the same, by intervals elsewhere, and never by chance alone."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.statistics import mcnemar_exact
from wikillama.tracking.registry.evaluations import Evaluated, Key
from wikillama.tracking.registry.gate import Verdict, verdicts

TURNS, QUESTIONS = Key("wow_seen", "gold", None), Key("qa200", "gold", "lexical-1")


def compared(mine: Evaluated, theirs: Evaluated, same_tokenizer: bool = True) -> dict[str, Verdict]:
    return {v.metric: v for v in verdicts({mine.key: mine}, {theirs.key: theirs}, same_tokenizer)}


@pytest.fixture
def replies(turn: Callable[..., Any]) -> Callable[..., Evaluated]:
    """`replies(by=-0.1)`: 40 turns of 20 dialogues whose F1 goes up and down, and by so much more or less."""

    def build(by: float = 0.0, nll: float = 20.0, **figures: Estimate) -> Evaluated:
        turns = tuple(turn(n, f1=0.5 + 0.3 * math.sin(n) + by, kf1=0.5 + by, nll=nll + n % 3) for n in range(40))
        return Evaluated(TURNS, "run", turns, metrics=figures)

    return build


def test_a_small_but_steady_loss_is_seen(replies: Callable[..., Evaluated]) -> None:
    """Unpaired, 0.02 would drown: F1 itself varies by 0.3."""
    found = compared(replies(-0.02), replies())
    assert found["f1"].difference.value == pytest.approx(-0.02)
    assert (found["f1"].worse, found["kf1"].worse, found["loss"].worse) == (True, True, False)
    assert "40 turns of 20 dialogues that both replied to, paired, p < .0001" in str(found["f1"])
    assert str(found["f1"]).startswith("F1 on wow_seen, gold knowledge: \N{MINUS SIGN}0.020 [")
    assert not any(verdict.worse for verdict in compared(replies(), replies(-0.02)).values())


def test_more_loss_is_worse(replies: Callable[..., Evaluated]) -> None:
    found = compared(replies(nll=22.0), replies())
    assert found["loss"].difference.value == pytest.approx(0.2)  # 2 nats more over 10 tokens
    assert found["loss"].worse
    assert "loss" not in compared(replies(nll=22.0), replies(), same_tokenizer=False)


def test_chance_is_not_worse(turn: Callable[..., Any]) -> None:
    """As many turns better as worse, and one worse more."""
    mine = Evaluated(TURNS, "a", tuple(turn(2 * n, f1=0.5 + 0.1 * (-1) ** n) for n in range(21)))
    theirs = Evaluated(TURNS, "b", tuple(turn(2 * n, f1=0.5) for n in range(21)))
    assert compared(theirs, mine)["f1"].difference.value == pytest.approx(-0.1 / 21)
    assert not compared(theirs, mine)["f1"].worse


def test_other_turns_are_not_paired(replies: Callable[..., Evaluated], turn: Callable[..., Any]) -> None:
    others = Evaluated(TURNS, "b", tuple(turn(n, f1=0.9) for n in range(100, 140)))
    assert compared(replies(), others) == {}


def test_without_replies_intervals_decide() -> None:
    def figures(value: float, reach: float) -> Evaluated:
        return Evaluated(TURNS, None, metrics={"f1": Estimate(value, value - reach, value + reach, 100)})

    close, far = compared(figures(0.40, 0.05), figures(0.45, 0.05)), compared(figures(0.40, 0.05), figures(0.48, 0.05))
    assert close["f1"].difference.low == pytest.approx(-0.05 - math.hypot(0.05, 0.05))
    assert (close["f1"].worse, far["f1"].worse) == (False, True)
    assert "not paired" in str(far["f1"])
    nothing = Evaluated(TURNS, None, metrics={"f1": Estimate(0.1, math.nan, math.nan, 1)})
    assert compared(nothing, figures(0.9, 0.01)) == {}


def test_intervals_of_loss_count_the_other_way() -> None:
    def loss(value: float) -> Evaluated:
        return Evaluated(TURNS, None, metrics={"loss": Estimate(value, value - 0.05, value + 0.05, 100)})

    assert compared(loss(2.2), loss(2.0))["loss"].worse
    assert not compared(loss(2.0), loss(2.2))["loss"].worse


def answers(answer: Callable[..., Any], labels: str) -> Evaluated:
    words = {"c": "correct", "w": "wrong", "a": "ambiguous"}
    made = tuple(answer(n, words[label]) for n, label in enumerate(labels))
    return Evaluated(QUESTIONS, "run", answers=made, counts=tuple(labels.count(x) for x in "cwa"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("lost", "worse"), [(6, True), (5, False)])
def test_questions_go_by_mcnemar(answer: Callable[..., Any], lost: int, worse: bool) -> None:
    """Of 6 changes for the worse and none for the better p is 1/32; of 5 it is 1/16."""
    before, after = "c" * 30 + "w" * 10, "w" * lost + "c" * (30 - lost) + "a" * 10
    found = compared(answers(answer, after), answers(answer, before))["correct"]
    assert mcnemar_exact(0, 6).p == 1 / 32
    assert found.worse is worse
    assert found.difference.value == pytest.approx(-lost / 40)
    assert f"40 questions that both answered, 0 won, {lost} lost, exact McNemar p = .0{31 if worse else 62}" in str(
        found
    )
    assert not compared(answers(answer, before), answers(answer, after))["correct"].worse


def test_counts_alone_go_by_wilson() -> None:
    def counted(correct: int) -> Evaluated:
        return Evaluated(QUESTIONS, None, counts=(correct, 200 - correct, 0))

    assert compared(counted(100), counted(130))["correct"].worse
    assert not compared(counted(100), counted(110))["correct"].worse


def test_what_only_one_was_asked_is_left_out(replies: Callable[..., Evaluated], answer: Callable[..., Any]) -> None:
    mine, theirs = replies(), answers(answer, "c" * 5)
    assert verdicts({mine.key: mine}, {theirs.key: theirs}, True) == ()
    ungrounded = Key("wow_seen", "none", None)
    assert verdicts({TURNS: mine}, {ungrounded: replies()}, True) == ()
