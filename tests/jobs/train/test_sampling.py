"""Which validation turns are replied to, and what is kept of the replies."""

import pytest

from wikillama.data.dialogue import Example
from wikillama.jobs.train.samples import spread


def turn(topic: str, number: int, opens: bool = False) -> Example:
    history = () if opens else (("apprentice", "Hello?"),)
    return Example(f"{topic}:{number}", topic, history, "Yes.", topic=topic)  # type: ignore[arg-type]


TURNS = [turn("tea", 0, opens=True), turn("tea", 1), turn("tea", 2), turn("art", 0), turn("art", 1), turn("cars", 0)]


@pytest.mark.parametrize(
    ("number", "ids"),
    [
        (1, ["tea:1"]),
        (3, ["tea:1", "art:0", "cars:0"]),
        (5, ["tea:1", "art:0", "cars:0", "tea:2", "art:1"]),
        (9, ["tea:1", "art:0", "cars:0", "tea:2", "art:1", "tea:0"]),
    ],
)
def test_topics_take_turns(number: int, ids: list[str]) -> None:
    assert [example.id for example in spread(TURNS, number)] == ids


def test_turns_without_a_topic_are_as_good() -> None:
    bare = [Example(str(n), "d", (("apprentice", "Hm?"),), "Yes.") for n in range(3)]
    assert spread(bare, 2) == bare[:2]
