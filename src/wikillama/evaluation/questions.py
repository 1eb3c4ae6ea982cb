"""The questions on which systems are judged correct, wrong or ambiguous: data/qa200 (its README is the card).

    python -m wikillama.evaluation.questions   # checks the shipped set; exit code 0, or 2 with a line for each problem

Texts are compared as whole words in a row after `wikillama.evaluation.metrics.normalize_answer`.
"""

import json
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wikillama.config.paths import ROOT
from wikillama.errors import InputError
from wikillama.evaluation.metrics import normalize_answer, prec_rec_f1

QUESTIONS = ROOT / "data" / "qa200" / "items.jsonl"
TOPICS = (
    "cars", "art", "food", "celebrities", "animals", "environment", "sports", "books", "technology", "holidays"
)  # fmt: skip
PER_TOPIC = 20
UNANSWERABLE = range(8, 13)  # how many of the 200 may have no answer
NEAR_DUPLICATE = 0.8  # token F1 of two questions above which they ask the same

Mode = Literal["gold", "retrieved", "none"]


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnowledgeSentence(_Item):
    """A sentence of an article; `gold` if it holds the answer."""

    title: str = Field(min_length=1)
    sentence: str = Field(min_length=1)
    gold: bool


class Question(_Item):
    """A question, what a right answer says, and the sentences that a system may be shown.

    A right answer has one wording of each group of `must_include` and none of `must_not_include`. Where `answerable`
    is false, nothing in `knowledge` is gold, and `reference` says what a good reply does. `ambiguity` tells of other
    readings than the one that `reference` answers.
    """

    id: str = Field(pattern=r"^[a-z]+-\d{3}$")
    topic: str
    question: str = Field(min_length=1)
    answer_type: Literal["name", "place", "date", "number", "thing", "explanation", "list", "yes_no"]
    reference: str = Field(min_length=1)
    aliases: tuple[str, ...]
    must_include: tuple[tuple[str, ...], ...]
    must_not_include: tuple[str, ...]
    answerable: bool
    ambiguity: str | None
    knowledge: tuple[KnowledgeSentence, ...]
    difficulty: Literal["easy", "medium", "hard"]
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    version: int = Field(ge=1)

    @property
    def gold(self) -> list[str]:
        return [k.sentence for k in self.knowledge if k.gold]

    @property
    def distractors(self) -> list[str]:
        return [k.sentence for k in self.knowledge if not k.gold]


def load_questions(path: Path | None = None) -> list[Question]:
    """The questions of a JSON Lines file, the shipped set by default, in the order of the file.

    Raises InputError naming file, line and fault where there is no such file, no question in it, or a line is not a
    valid question. What is wrong between questions, or within the facts of one, is for `check`.
    """
    path = path or QUESTIONS
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a UTF-8 file of JSON lines") from error
    questions = [_parse(line, f"{path}, line {n}") for n, line in enumerate(lines, start=1) if line.strip()]
    if not questions:
        raise InputError(f"{path}: the file holds no question")
    return questions


def _parse(line: str, where: str) -> Question:
    try:
        return Question.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: broken or truncated JSON ({error.msg})") from error
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc'])) or 'the line'}: {e['msg'].lower()}" for e in error.errors())
        raise InputError(f"{where}: {'; '.join(wrong)}") from error


def knowledge_for(question: Question, mode: Mode) -> list[tuple[str, str]]:
    """(title, sentence) of what a system is shown: the gold sentences, all of them in shipped order, or nothing.

    Where a question has no answer, "gold" gives all its sentences: they are the passage at hand.
    """
    if mode == "none":
        return []
    shown = [k for k in question.knowledge if k.gold] if mode == "gold" and question.answerable else question.knowledge
    return [(k.title, k.sentence) for k in shown]


def contains(text: str, wording: str) -> bool:
    """Whether the words of `wording` stand in a row in `text`. A wording without words is in no text."""
    words = normalize_answer(wording)
    return bool(words) and f" {words} " in f" {normalize_answer(text)} "


def includes(text: str, groups: tuple[tuple[str, ...], ...]) -> bool:
    """Whether the text has at least one wording of each group."""
    return all(any(contains(text, wording) for wording in group) for group in groups)


def check(questions: list[Question]) -> list[str]:
    """Everything that is wrong with a question set as the card describes it, one line each; empty if nothing is."""
    wrong = [f"{id_}: {n} questions have this id" for id_, n in Counter(q.id for q in questions).items() if n > 1]
    topics = Counter(q.topic for q in questions)
    wrong += [f"topic {t}: not one of {', '.join(TOPICS)}" for t in topics if t not in TOPICS]
    wrong += [f"topic {t}: {topics[t]} questions, not {PER_TOPIC}" for t in TOPICS if topics[t] != PER_TOPIC]
    without = sum(not q.answerable for q in questions)
    if without not in UNANSWERABLE:
        wrong.append(f"{without} questions without an answer, not {UNANSWERABLE[0]} to {UNANSWERABLE[-1]}")
    for question in questions:
        faults = _faults_of_answerable(question) if question.answerable else _faults_of_unanswerable(question)
        wrong += [f"{question.id}: {fault}" for fault in _faults(question) + faults]
    for a, b in combinations(questions, 2):
        if prec_rec_f1(a.question, b.question).f1 > NEAR_DUPLICATE:
            wrong.append(f"{a.id} and {b.id}: nearly the same question")
    return wrong


def _faults(question: Question) -> list[str]:
    faults = []
    if question.id.rpartition("-")[0] != question.topic:
        faults.append(f"the id does not begin with the topic '{question.topic}'")
    if len(question.distractors) < 2:
        faults.append(f"{len(question.distractors)} distractors, not two or more")
    sentences = Counter(normalize_answer(k.sentence) for k in question.knowledge)
    faults += [f"the sentence '{s}' stands {n} times" for s, n in sentences.items() if n > 1]
    wordings = [w for group in question.must_include for w in group] + list(question.must_not_include)
    faults += [f"the wording '{w}' has no word left after normalization" for w in wordings if not normalize_answer(w)]
    for text in (question.reference, *question.aliases, *question.gold):
        faults += [f"must_not_include '{w}' is in '{text}'" for w in question.must_not_include if contains(text, w)]
    return faults


def _faults_of_answerable(question: Question) -> list[str]:
    faults = []
    if not question.aliases:
        faults.append("no alias")
    if not question.must_include or not all(question.must_include):
        return [*faults, "must_include is empty, or a group of it is"]
    for text in (question.reference, *question.aliases):
        if not includes(text, question.must_include):
            faults.append(f"'{text}' lacks what must_include asks for")
    if includes(question.question, question.must_include):
        faults.append("the question itself has what must_include asks for")
    faults += [f"distractor answers: '{s}'" for s in question.distractors if includes(s, question.must_include)]
    gold = " ".join(question.gold)
    if not gold:
        faults.append("no gold sentence")
    # "no" and sums of two dates are in no sentence, so most words of the reference do as well
    elif not includes(gold, question.must_include) and prec_rec_f1(gold, question.reference).recall < 0.5:
        faults.append("the gold sentences do not hold the answer")
    return faults


def _faults_of_unanswerable(question: Question) -> list[str]:
    faults = []
    if question.gold:
        faults.append("gold sentence although answerable is false")
    if question.must_include:
        faults.append("must_include although answerable is false")
    return faults


def main(path: Path | None = None) -> int:
    """Check a question set and say what is wrong with it. Gives the exit code: 0, or 2 for any problem."""
    try:
        questions = load_questions(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    wrong = check(questions)
    print("\n".join(wrong) if wrong else f"{len(questions)} questions, nothing wrong")
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
