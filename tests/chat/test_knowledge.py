"""Knowledge for a reply, and which of it the reply used."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.chat.knowledge import PASTED, Knowledge, used
from wikillama.data.retrieval.build import open_index
from wikillama.errors import InputError


@pytest.fixture
def knowledge(chat_config: Callable[..., Any]) -> Knowledge:
    cfg = chat_config()
    return Knowledge(lambda: open_index(cfg.retriever, cfg.cache_dir), 2)


def texts(found: list[Any]) -> list[str]:
    return [source.sentence.text for source in found]


def test_the_retriever_is_asked_as_in_evaluation(knowledge: Knowledge, chat_config: Callable[..., Any]) -> None:
    cfg = chat_config()
    turns = ["Hello!", "Hi.", "How many flowers does a bee visit?"]
    found = knowledge.sources("retrieved", None, turns, [])
    assert texts(found)[0] == "A bee visits 1,500 flowers a day."
    assert found[0].place == "bee.md"
    expected = open_index(cfg.retriever, cfg.cache_dir).search(None, turns, 2, [])
    assert texts(found) == [each.sentence.text for each in expected]
    told = knowledge.sources("retrieved", None, turns, [found[0].sentence.text])
    assert told[0].sentence.text == found[0].sentence.text or told[1].sentence.text == found[0].sentence.text


def test_an_index_is_opened_once_and_only_when_needed(chat_config: Callable[..., Any]) -> None:
    cfg, opened = chat_config(), []

    def opens() -> Any:
        opened.append(1)
        return open_index(cfg.retriever, cfg.cache_dir)

    knowledge = Knowledge(opens, 2)
    assert knowledge.sources("off", None, ["Tea?"], []) == []
    assert texts(knowledge.sources("mine", None, ["Tea?"], [], "Tea is hot.")) == ["Tea is hot."]
    assert opened == []
    assert knowledge.sources("retrieved", None, ["Tea?"], [])
    assert knowledge.sources("retrieved", None, ["Bees?"], [])
    assert opened == [1]


def test_of_a_long_paste_the_best_are_given_in_order(knowledge: Knowledge) -> None:
    pasted = "Rust is red. Tea is hot. Stones are old. Green tea is bitter."
    assert texts(knowledge.sources("mine", None, ["What of tea?"], [], pasted)) == [
        "Tea is hot.",
        "Green tea is bitter.",
    ]
    found = knowledge.sources("mine", "Tea", ["Is it hot?"], [], pasted)
    assert {source.place for source in found} == {"pasted"}
    assert {source.sentence.title for source in found} == {"Tea"}
    with pytest.raises(InputError, match="20,001 characters; paste at most 20,000"):
        knowledge.sources("mine", None, ["Tea?"], [], "x" * (PASTED + 1))


SENTENCES = [
    "Ford began to build the Ford Mustang in 1964.",
    "The emblem of the Mustang is a wild horse.",
    "Dealers took 22,000 orders on its first day on sale.",
]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("They have built it since 1964, in Ford's own works.", [True, False, False]),
        ("They began to build it in 1964; 22,000 were ordered on the first day.", [True, False, True]),
        ("I do, a lovely car!", [False, False, False]),
        ("", [False, False, False]),
        ("Do you know the Ford Mustang?", [False, False, False]),  # an echo
    ],
)
def test_a_sentence_is_used_where_it_explains_the_reply(reply: str, expected: list[bool]) -> None:
    assert used(reply, SENTENCES, "Do you know the Ford Mustang?") == expected
    assert used(reply, []) == []


def test_people_use_the_sentence_that_they_chose(wow_data: Path) -> None:
    """As the docstring says, on real turns: the chosen sentence among four of other turns."""
    with (wow_data / "conner_test_seen_500.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row[2] != "no_passages_used"]
    marked = strays = 0
    for place, (_, context, chosen, reply) in enumerate(rows):
        others = [rows[(place + 37 * step) % len(rows)][2] for step in (1, 2, 3, 4)]
        marks = used(reply, [chosen, *others], context.split("[SEP]")[-1])
        marked += marks[0]
        strays += sum(marks[1:])
    assert marked / len(rows) > 0.85
    assert strays / len(rows) < 0.03
