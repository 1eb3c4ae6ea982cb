"""The shipped questions as systems meet them, under each kind of knowledge, and as a judge sees the answers."""

from collections import Counter

import pytest

from wikillama.config.schema import KnowledgeConfig
from wikillama.evaluation.asking import as_examples, judged, stratified
from wikillama.evaluation.judging.lexical import LexicalJudge
from wikillama.evaluation.questions import TOPICS, load_questions

SHIPPED = load_questions()
BY_ID = {question.id: question for question in SHIPPED}


def shown(mode: str, k: int = 5) -> dict[str, list[str]]:
    """The sentences that each question comes with."""
    knowledge = KnowledgeConfig.model_validate({"mode": mode, "k": k})
    return {e.id: [sentence.text for sentence in e.knowledge] for e in as_examples(SHIPPED, knowledge)}


@pytest.mark.parametrize(
    ("limit", "by_topic"),
    [(40, [4] * 10), (15, [2] * 5 + [1] * 5), (10, [1] * 10), (3, [1] * 3), (199, [20] * 9 + [19]), (200, [20] * 10)],
)
def test_a_few_questions_are_of_all_topics(limit: int, by_topic: list[int]) -> None:
    chosen = stratified(SHIPPED, limit)
    counts = Counter(question.topic for question in chosen)
    assert [counts[topic] for topic in TOPICS] == by_topic + [0] * (10 - len(by_topic))
    assert len({question.id for question in chosen}) == limit


def test_all_questions_stay_as_they_are() -> None:
    for limit in (None, 200, 201):
        assert stratified(SHIPPED, limit) == SHIPPED


def test_a_few_questions_are_spread_over_their_topic() -> None:
    assert [q.id for q in stratified(SHIPPED, 40) if q.topic == "cars"] == [
        "cars-001",
        "cars-006",
        "cars-011",
        "cars-016",
    ]


def test_a_question_opens_a_conversation() -> None:
    (example,) = as_examples([BY_ID["cars-001"]], KnowledgeConfig(mode="gold"))
    assert (example.id, example.dialogue_id) == ("cars-001", "cars-001")
    assert example.history == (("apprentice", "Which movie spy is known for his silver Aston Martin DB5?"),)
    assert example.response == "That is James Bond."
    assert [(s.title, s.text.partition(" became")[0]) for s in example.knowledge] == [
        ("Aston Martin DB5", "A silver Aston Martin DB5 full of hidden gadgets")
    ]


def test_gold_shows_the_answering_sentences_alone() -> None:
    for id_, sentences in shown("gold").items():
        question = BY_ID[id_]
        passage = [k.sentence for k in question.knowledge]
        assert sentences == (question.gold if question.answerable else passage)
        assert sentences


def test_none_shows_nothing() -> None:
    assert set(map(len, shown("none").values())) == {0}
    assert len(shown("none")) == 200


def test_retrieved_shows_the_best_of_the_passage() -> None:
    one, two, all_ = shown("retrieved", 1), shown("retrieved", 2), shown("retrieved", 99)
    for id_, sentences in two.items():
        assert len(sentences) == 2
        assert one[id_] == sentences[:1]
        assert all_[id_][:2] == sentences
        assert sorted(all_[id_]) == sorted(k.sentence for k in BY_ID[id_].knowledge)
    distracting = sum(bool(set(sentences) & set(BY_ID[id_].distractors)) for id_, sentences in two.items())
    assert distracting > 150
    answerable = [question for question in SHIPPED if question.answerable]
    found = sum(one[question.id][0] in question.gold for question in answerable) / len(answerable)
    first = sum(question.knowledge[0].gold for question in answerable) / len(answerable)
    assert found > 0.6 > first + 0.1  # ranked against the question, not in the order of the passage


def test_shuffled_shows_what_answers_a_question_of_another_topic() -> None:
    topics: dict[str, set[str]] = {}
    for question in SHIPPED:
        for k in question.knowledge:
            topics.setdefault(k.sentence, set()).add(question.topic)
    gold = shown("gold")
    for id_, sentences in shown("shuffled").items():
        assert sentences in gold.values()
        assert all(topics[text] != {BY_ID[id_].topic} for text in sentences)
        assert not set(sentences) & {k.sentence for k in BY_ID[id_].knowledge}


def test_of_one_topic_alone_nothing_can_be_shuffled() -> None:
    cars = [question for question in SHIPPED if question.topic == "cars"]
    assert [e.knowledge for e in as_examples(cars, KnowledgeConfig(mode="shuffled"))] == [()] * 20


def test_answers_carry_the_verdict_and_what_was_shown() -> None:
    questions = [BY_ID["cars-001"], BY_ID["cars-002"]]
    examples = as_examples(questions, KnowledgeConfig(mode="gold"))
    right, wrong = judged(questions, examples, [questions[0].reference, "No idea at all."], LexicalJudge())
    assert (right.id, right.topic, right.label) == ("cars-001", "cars", "correct")
    assert right.score > 0.5 > wrong.score
    assert wrong.label != "correct"
    assert (right.question, right.reference) == (questions[0].question, questions[0].reference)
    assert (right.reply, wrong.reply) == ("That is James Bond.", "No idea at all.")
    assert right.knowledge == tuple(questions[0].gold)
    assert right.evidence
