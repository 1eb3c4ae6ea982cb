"""What is found for a conversation, in which order, and what is not."""

from collections.abc import Callable

import pytest
from sentence_wheel import with_wheel

from wikillama.data.dialogue import Sentence
from wikillama.data.retrieval.index import Found, Index, query_text

Opened = Callable[..., Index]
KINDS = ["bm25", pytest.param("dense", marks=with_wheel), pytest.param("hybrid", marks=with_wheel)]


def texts(found: list[Found]) -> list[str]:
    return [one.sentence.text for one in found]


def test_the_query_is_the_topic_and_the_last_two_turns() -> None:
    turns = ["I like tea.", "So do I.", "And cups?", "Yes."]
    assert query_text("Tea", turns) == "Yes. Tea And cups?"
    assert query_text(None, turns) == "Yes. I like tea. And cups?"  # the opening stands for the topic
    assert query_text(None, turns[:2]) == "So do I. I like tea."  # once
    assert query_text("Tea", []) == "Tea"
    assert query_text(None, []) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_come_with_their_articles_best_first(opened: Opened, kind: str) -> None:
    found = opened(kind).search("Ford Mustang", ["When did they begin to build it?"], 3)
    assert found[0].sentence == Sentence("Ford Mustang", "Ford began to build the car in 1964.")
    assert found[0].article == "Ford Mustang"
    assert found[0].source == "articles.jsonl: line 2"
    assert len(found) == 3
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_article_without_a_title_goes_by_its_source(opened: Opened, kind: str) -> None:
    best = opened(kind).search(None, ["Do mugs break?"], 1)[0]
    assert best.sentence == Sentence(None, "Mugs break.")
    assert best.article == best.source == "articles.jsonl: line 5"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_told_loses_a_fifth(opened: Opened, kind: str) -> None:
    index, told = opened(kind), "Bees sleep at night."
    asked = ("Honey bee", ["What do bees do at night?"])
    before = {one.sentence.text: one.score for one in index.search(*asked, 13)}
    after = {one.sentence.text: one.score for one in index.search(*asked, 13, (f" {told}", "No such sentence."))}
    assert next(iter(before)) == told
    assert after.pop(told) == pytest.approx(0.8 * before.pop(told), rel=1e-5)
    assert after == before


@pytest.mark.parametrize("kind", ["bm25", pytest.param("hybrid", marks=with_wheel)])
def test_what_the_turns_say_already_is_taken_for_told(opened: Opened, kind: str) -> None:
    told, index = "Tea is a hot drink from leaves.", opened(kind)

    def found(reply: str) -> dict[str, float]:
        turns = [
            "Is tea a hot drink from leaves?",
            reply,
            "Oh.",
            "Well.",
            "Is it a hot drink?",
        ]  # to ask is not to tell
        return {one.sentence.text: one.score for one in index.search(None, turns, 13)}

    assert next(iter(found("Hm."))) == told
    assert told not in list(found(told))[:3]
    assert 0.5 < found("Yes, leaves.")[told] / found("Hm.")[told] < 0.95


def test_by_words_nothing_is_found_where_no_word_is_known(opened: Opened) -> None:
    index = opened()
    assert index.search(None, ["Submarines!"], 5) == []
    assert index.search(None, ["the of and"], 5) == []
    assert texts(index.search(None, ["Beijing, submarines"], 5)) == ["Its capital is Beijing."]


@with_wheel
@pytest.mark.parametrize("kind", ["dense", "hybrid"])
def test_by_meaning_no_word_needs_to_be_shared(opened: Opened, kind: str) -> None:
    found = opened(kind).search(None, ["Which insects collect pollen for their hive?"], 3)
    assert {one.article for one in found} == {"Honey bee"}
    assert opened().search(None, ["Which insects collect pollen for their hive?"], 3) == []


def test_a_search_never_looks_beyond_its_articles(opened: Opened) -> None:
    one = opened(articles=1).search(None, ["Tea from China"], 1)
    assert {found.article for found in one} == {"Tea"}
    both = opened(articles=2).search(None, ["Tea from China"], 13)
    assert {found.article for found in both} == {"Tea", "China"}
    assert len(opened(articles=1).search(None, ["Tea from China"], 4)) > 3  # as many as can fill k


@with_wheel
def test_the_weight_goes_from_words_to_meaning(opened: Opened) -> None:
    asked = (None, ["The engine of an automobile: does a queen sleep at night in it?"], 13)
    by_words, by_meaning = opened().search(*asked), opened("dense").search(*asked)
    assert texts(opened("hybrid", dense_weight=0.0).search(*asked)) == texts(by_words)
    assert texts(opened("hybrid", dense_weight=1.0).search(*asked)) == texts(by_meaning)
    assert texts(by_words) != texts(by_meaning)[: len(by_words)]
    scores = [one.score for one in opened("hybrid", dense_weight=0.5).search(*asked)]
    assert 0 < min(scores) <= max(scores) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_question_has_the_same_answer(opened: Opened, kind: str) -> None:
    asked = ("China", ["Do you like tea?", "Yes, with milk.", "And who grew it first?"], 5)
    assert opened(kind).search(*asked) == opened(kind).search(*asked) != []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_asked_is_nothing_found(opened: Opened, kind: str) -> None:
    assert opened(kind).search(None, [], 5) == []
    assert opened(kind).search(None, ["", ""], 5) == []
    assert opened(kind).search("China", [], 5) != []
