"""The shipped questions hold to their card, and the check sees each kind of fault."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from wikillama.config.paths import ROOT
from wikillama.errors import InputError
from wikillama.evaluation.metrics import normalize_answer
from wikillama.evaluation.questions import (
    QUESTIONS,
    TOPICS,
    KnowledgeSentence,
    Question,
    check,
    contains,
    includes,
    knowledge_for,
    load_questions,
    main,
)

SHIPPED = load_questions()
BY_ID = {q.id: q for q in SHIPPED}


FOOD = [q for q in SHIPPED if q.topic == "food"]  # comparing 20 questions is quicker than comparing 200


def changed(id_: str, **update: Any) -> list[Question]:
    """The questions on food with one of them changed."""
    assert id_ in BY_ID
    return [q.model_copy(update=update) if q.id == id_ else q for q in FOOD]


def knowledge(*sentences: tuple[str, bool]) -> tuple[KnowledgeSentence, ...]:
    return tuple(KnowledgeSentence(title="Kimchi", sentence=text, gold=gold) for text, gold in sentences)


def test_the_shipped_set_has_no_fault() -> None:
    assert check(SHIPPED) == []
    assert [q.id for q in SHIPPED] == [f"{topic}-{n:03}" for topic in TOPICS for n in range(1, 21)]
    assert {q.as_of for q in SHIPPED} == {"2023-01-01"}


def test_one_question_a_topic_has_no_answer() -> None:
    assert Counter(q.topic for q in SHIPPED if not q.answerable) == dict.fromkeys(TOPICS, 1)


def test_gold_is_not_given_away_by_its_place() -> None:
    places = Counter(q.knowledge.index(k) for q in SHIPPED for k in q.knowledge if k.gold and len(q.knowledge) == 4)
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) < 0.35 * sum(places.values())


def test_the_card_counts_what_is_shipped() -> None:
    rows = [line.strip("| ").split(" | ") for line in (QUESTIONS.parent / "README.md").read_text().splitlines()]
    (columns,) = [row[1:] for row in rows if row[:2] == ["topic", "name"]]
    numbers = {row[0]: [int(n) for n in row[1:]] for row in rows if len(row) == 13 and row[1].isdigit()}
    table = {topic: dict(zip(columns, row, strict=True)) for topic, row in numbers.items()}
    assert set(table) == {*TOPICS, "all"}
    for topic, counts in table.items():
        chosen = [q for q in SHIPPED if topic in (q.topic, "all")]
        found = Counter(q.answer_type for q in chosen) + Counter(q.difficulty for q in chosen)
        assert counts == dict(found) | {"no answer": sum(not q.answerable for q in chosen)}


def test_nothing_is_taken_from_the_mini_corpus() -> None:
    articles: dict[str, list[str]] = {}
    for file in (ROOT / "data" / "wow_mini" / "source").glob("*.yaml"):
        articles |= yaml.safe_load(file.read_text(encoding="utf-8"))["articles"]
    assert len(articles) == 90
    sentences = {normalize_answer(s) for article in articles.values() for s in article}
    for question in SHIPPED:
        for known in question.knowledge:
            assert known.title not in articles
            assert normalize_answer(known.sentence) not in sentences


@pytest.mark.parametrize(
    ("id_", "update", "fault"),
    [
        ("food-010", {"id": "food-011"}, "food-011: 2 questions have this id"),
        ("food-010", {"topic": "drink"}, "topic drink: not one of cars, art, food"),
        ("food-010", {"topic": "art"}, "topic food: 19 questions, not 20"),
        ("food-010", {"topic": "art"}, "food-010: the id does not begin with the topic 'art'"),
        ("food-010", {"aliases": ()}, "food-010: no alias"),
        ("food-010", {"aliases": ("Japan",)}, "food-010: 'Japan' lacks what must_include asks for"),
        ("food-010", {"reference": "From Asia."}, "food-010: 'From Asia.' lacks what must_include asks for"),
        ("food-010", {"must_include": ()}, "food-010: must_include is empty, or a group of it is"),
        ("food-010", {"must_include": (("korea",), ())}, "food-010: must_include is empty, or a group of it is"),
        ("food-010", {"must_include": (("korea", "the"),)}, "food-010: the wording 'the' has no word left"),
        ("food-010", {"must_include": (("korea", "kimchi"),)}, "food-010: the question itself has what must_include"),
        ("food-010", {"must_include": (("korea", "cabbage"),)}, "food-010: distractor answers: 'Napa cabbage"),
        ("food-010", {"must_not_include": ("from Korea",)}, "food-010: must_not_include 'from Korea' is in 'Kimchi is"),
        ("food-010", {"must_not_include": ("nearly every",)}, "food-010: must_not_include 'nearly every' is in"),
        ("food-010", {"knowledge": knowledge(("It is Korean.", True), ("Tea.", False))}, "food-010: 1 distractors,"),
        ("food-010", {"knowledge": knowledge(("Tea.", False), ("Cake.", False))}, "food-010: no gold sentence"),
        (
            "food-010",
            {"knowledge": knowledge(("It is hot.", True), ("Tea.", False), ("Cake.", False))},
            "food-010: the gold sentences do not hold the answer",
        ),
        (
            "food-010",
            {"knowledge": knowledge(("It is Korean.", True), ("A tea.", False), ("Tea!", False))},
            "food-010: the sentence 'tea' stands 2 times",
        ),
        ("food-010", {"question": "Who is the sandwich named for?"}, "food-007 and food-010: nearly the same question"),
        ("food-020", {"must_include": (("none",),)}, "food-020: must_include although answerable is false"),
        (
            "food-020",
            {"knowledge": knowledge(("None did.", True), ("Tea.", False), ("Cake.", False))},
            "food-020: gold sentence although answerable is false",
        ),
    ],
)
def test_check_finds(id_: str, update: dict[str, Any], fault: str) -> None:
    assert not any(line.startswith(fault) for line in check(FOOD))
    found = check(changed(id_, **update))
    assert any(line.startswith(fault) for line in found), found
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(("answerable", "count"), [(True, 0), (False, 200)])
def test_check_counts_questions_without_an_answer(answerable: bool, count: int) -> None:
    found = check([q.model_copy(update={"answerable": answerable}) for q in SHIPPED])
    assert f"{count} questions without an answer, not 8 to 12" in found


@pytest.mark.parametrize(
    ("text", "wording", "expected"),
    [
        ("It's by Picasso.", "picasso", True),
        ("The Picassos", "picasso", False),  # whole words only
        ("twenty-three", "twenty three", True),
        ("July 14", "july 4", False),
        ("9.58 seconds", "9.58", True),
        ("three blue wheels", "three wheels", False),  # in a row
        ("in a pride of the lions", "pride of lions", True),  # without articles
        ("anything", "the", False),
    ],
)
def test_contains(text: str, wording: str, expected: bool) -> None:
    assert contains(text, wording) is expected


def test_includes_needs_one_wording_of_each_group() -> None:
    groups = (("red", "rgb"), ("green", "rgb"))
    assert includes("Red and green.", groups)
    assert includes("RGB", groups)
    assert not includes("red and blue", groups)


@pytest.mark.parametrize(
    ("id_", "right", "wrong"),
    [
        ("art-001", "Picasso did, in 1937!", "It was Goya."),
        ("cars-018", "how far you've driven", "how many miles per hour you go"),
        ("sports-004", "You finished one below par", "one over par"),
        ("holidays-011", "the 3rd Monday in January", "the third Monday in February"),
        ("animals-003", "Nope, just cartilage", "Yes, they have bones and cartilage"),
        ("books-007", "Amy, Beth, Jo and Meg March", "Amy, Beth and Meg"),
    ],
)
def test_required_and_forbidden_words_tell_right_from_wrong(id_: str, right: str, wrong: str) -> None:
    question = BY_ID[id_]

    def accepted(text: str) -> bool:
        return includes(text, question.must_include) and not any(contains(text, w) for w in question.must_not_include)

    assert accepted(right)
    assert not accepted(wrong)


def test_knowledge_modes() -> None:
    question = BY_ID["cars-012"]  # two of its five sentences are gold
    shown = knowledge_for(question, "gold")
    assert {title for title, _ in shown} == {"Mini", "Alec Issigonis"}
    assert sorted(sentence for _, sentence in shown) == sorted(question.gold)
    assert len(shown) == 2
    assert knowledge_for(question, "retrieved") == [(k.title, k.sentence) for k in question.knowledge]
    assert len(question.knowledge) == 5
    assert knowledge_for(question, "none") == []


def test_a_question_without_an_answer_is_shown_what_there_is() -> None:
    question = BY_ID["animals-020"]
    assert [sentence for _, sentence in knowledge_for(question, "gold")] == question.distractors
    assert len(question.distractors) == 3
    assert knowledge_for(question, "none") == []


def line_of(**update: Any) -> str:
    row = json.loads(BY_ID["food-010"].model_dump_json()) | update
    return json.dumps({key: value for key, value in row.items() if value != "drop"})


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": "food-010", ', ", line 2: broken or truncated JSON (Expecting property name"),
        ("[]", ", line 2: the line: input should be a valid dictionary"),
        (line_of(reference="drop"), ", line 2: reference: field required"),
        (line_of(source="web"), ", line 2: source: extra inputs are not permitted"),
        (line_of(answer_type="poem"), ", line 2: answer_type: input should be 'name', 'place'"),
        (line_of(difficulty=3), ", line 2: difficulty: input should be 'easy', 'medium' or 'hard'"),
        (line_of(id="Food 10"), ", line 2: id: string should match pattern"),
        (line_of(as_of="2023"), ", line 2: as_of: string should match pattern"),
        (
            line_of(knowledge=[{"title": "Tea", "sentence": ""}]),
            ", line 2: knowledge.0.sentence: string should have at",
        ),
    ],
)
def test_a_bad_line_is_named_in_one_line(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(f"{line_of()}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_questions(path)
    assert str(error.value).startswith(f"{path}{fault}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "fault"), [(b"\n \n", "holds no question"), (b'{"id": "\xff"}', "UTF-8"), (None, "No such file")]
)
def test_a_file_without_questions(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "items.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=fault) as error:
        load_questions(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_separator_within_a_line_does_not_cut_it(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        BY_ID["food-010"].model_copy(update={"reference": "Korea\u2028"}).model_dump_json(), encoding="utf-8"
    )
    assert [q.reference for q in load_questions(path)] == ["Korea\u2028"]


def test_questions_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SHIPPED[0].question = "Why?"  # type: ignore[misc]


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert capsys.readouterr().out == "200 questions, nothing wrong\n"
    path = tmp_path / "items.jsonl"
    path.write_text(line_of(), encoding="utf-8")
    assert main(path) == 2
    assert "topic food: 1 questions, not 20" in capsys.readouterr().out.splitlines()
    assert main(tmp_path / "none.jsonl") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_module_runs_on_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text("[]", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "wikillama.evaluation.questions", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
