"""What an evaluation says of its systems, beside what the study says of its own: shares, changes, tests, sentences.

Dataclasses throughout: `orjson.dumps` writes them, nan as null.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from statsmodels.stats.proportion import proportion_confint

from wikillama.errors import InputError
from wikillama.evaluation.matrices import Matrix, topic_by_label
from wikillama.evaluation.paired_metrics import MetricPair, compare_turns
from wikillama.evaluation.pairwise import Pair, TopicChange, compare_pairs
from wikillama.evaluation.raters import NAN, PEOPLE, Annotators, JudgeCheck, check_judge, compare_annotators
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Evaluation, SystemResult
from wikillama.evaluation.statistics import (
    Pairings,
    fisher,
    holm,
    mcnemar_over_pairings,
    no_detectable_difference,
    wilson,
)
from wikillama.evaluation.study import REPORTED, TOPICS, Reported
from wikillama.evaluation.wording import ALPHA, p_value


@dataclass(frozen=True, slots=True)
class TopicCount:
    """Correct answers within a topic; `share.n` questions."""

    topic: str
    correct: int
    share: Estimate


@dataclass(frozen=True, slots=True)
class Judged:
    """A system's labels, counted. `strict`: ambiguous answers count as wrong; `lenient`: as half correct; `decided`:
    not at all. Intervals are Wilson's; with halves it is conservative, since no score in 0..1 varies more than a
    yes or no of the same mean."""

    name: str
    reported: bool  # by the study
    correct: int
    wrong: int
    ambiguous: int
    strict: Estimate
    lenient: Estimate
    decided: Estimate
    topics: tuple[TopicCount, ...]
    by_topic: Matrix | None  # None where only counts are known


@dataclass(frozen=True, slots=True)
class ReportedPair:
    """Two systems of the study, of which only counts are known: p-values over all answers that could lie behind."""

    first: str
    second: str
    pairings: Pairings
    topics: tuple[TopicChange, ...]
    words: str


@dataclass(frozen=True, slots=True)
class KnowledgeEffect:
    """By how much knowledge-F1 falls when replies see the knowledge of another dialogue. The interval joins those of
    the two figures (Zou and Donner 2008) as if the replies were unrelated, which makes it wider."""

    system: str
    kf1: Estimate
    shuffled: Estimate
    fall: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is computed. `pairs` are over questions, `metric_pairs` over turns of dialogues. `human_pairs` are as
    `pairs`, by people's labels where both systems have some; these and `judge` are empty where the labels themselves
    are people's (`by_people`)."""

    by_people: bool
    systems: tuple[Judged, ...]
    pairs: tuple[Pair, ...]
    human_pairs: tuple[Pair, ...]
    judge: tuple[JudgeCheck, ...]
    annotators: Annotators
    metric_pairs: tuple[MetricPair, ...]
    knowledge: tuple[KnowledgeEffect, ...]
    reported: tuple[Judged, ...]
    reported_pairs: tuple[ReportedPair, ...]


def compare(evaluation: Evaluation) -> Comparison:
    """Compare the systems of an evaluation, every two of them, those with the first system before the others.

    A pair is compared on the questions that both answer. Raises InputError for no system, two of one name, or one that
    answers a question twice.
    """
    _check(evaluation.systems)
    answered = [system for system in evaluation.systems if system.answers]
    topics = _in_order({answer.id: answer.topic for system in answered for answer in system.answers})
    labels = {system.name: system.labels for system in answered}
    by_people = (evaluation.judge or "").startswith(PEOPLE)
    human = {name: {i: x for i, x in evaluation.human.get(name, {}).items() if i in labels[name]} for name in labels}
    beside = {} if by_people else {name: given for name, given in human.items() if given}
    return Comparison(
        by_people=by_people,
        systems=tuple(_judged(system, topics) for system in answered),
        pairs=compare_pairs(labels, topics),
        human_pairs=compare_pairs(beside, topics),
        judge=() if by_people else check_judge(evaluation),
        annotators=compare_annotators(evaluation.annotators),
        metric_pairs=compare_turns({s.name: s.predictions for s in evaluation.systems if s.predictions}),
        knowledge=tuple(filter(None, map(_knowledge_effect, evaluation.systems))),
        reported=tuple(map(_reported, REPORTED)),
        reported_pairs=tuple(_reported_pair(a, b) for a, b in combinations(REPORTED, 2)),
    )


def _check(systems: Sequence[SystemResult]) -> None:
    names = [system.name for system in systems]
    if not names or len(set(names)) < len(names):
        raise InputError(f"report of systems {names}: give one or more, each with a name of its own")
    for system in systems:
        if len(system.labels) < len(system.answers):
            raise InputError(f"answers of {system.name}: a question is answered twice; keep one answer a question")


def _in_order(topics: Mapping[str, str]) -> dict[str, str]:
    """Questions by topic, the study's topics in its order, then others as they come."""
    order = dict.fromkeys((*TOPICS, *topics.values()))
    return {item: topic for wanted in order for item, topic in topics.items() if topic == wanted}


def _judged(system: SystemResult, topics: Mapping[str, str]) -> Judged:
    labels = system.labels
    table = topic_by_label(labels, {item: topic for item, topic in topics.items() if item in labels}, system.name)
    rows = zip(table.row_names, table.counts, strict=True)
    by_topic = tuple(TopicCount(topic, row[0], wilson(row[0], sum(row))) for topic, row in rows)
    return Judged(system.name, False, *system.counts, *_accuracies(*system.counts), by_topic, table)


def _reported(row: Reported) -> Judged:
    counts = (row.correct, row.wrong, row.ambiguous)
    each = sum(counts) // len(TOPICS)
    topics = tuple(TopicCount(t, k, wilson(k, each)) for t, k in zip(TOPICS, row.by_topic, strict=True))
    return Judged(row.name, True, *counts, *_accuracies(*counts), topics, None)


def _accuracies(correct: int, wrong: int, ambiguous: int) -> tuple[Estimate, Estimate, Estimate]:
    n, decided = correct + wrong + ambiguous, correct + wrong
    half = correct + ambiguous / 2
    low, high = proportion_confint(half, n, method="wilson")
    lenient = Estimate(half / n, float(low), float(high), n)
    return wilson(correct, n), lenient, wilson(correct, decided) if decided else Estimate(NAN, NAN, NAN, 0)


def _reported_pair(first: Reported, second: Reported) -> ReportedPair:
    n = first.correct + first.wrong + first.ambiguous
    each = n // len(TOPICS)
    found = mcnemar_over_pairings(first.correct, second.correct, n)
    counts = list(zip(TOPICS, first.by_topic, second.by_topic, strict=True))
    ps = [fisher(a, each, b, each) for _, a, b in counts]
    topics = tuple(
        TopicChange(topic, each, a, b, None, None, p, corrected)
        for (topic, a, b), p, corrected in zip(counts, ps, holm(ps), strict=True)
    )
    against = f"{second.correct} against {first.correct} of {n} correct"
    if no_detectable_difference(first.correct, second.correct, n):
        said = f"No detectable difference between {second.name} and {first.name}: {against}, and whichever answers "
        said += f"these are, exact McNemar {p_value(found.lowest_p)} or more."
    elif found.highest_p < ALPHA:
        direction = "better" if second.correct > first.correct else "worse"
        said = f"{second.name} is {direction} than {first.name}: {against}, and whichever answers these are, "
        said += f"exact McNemar {p_value(found.highest_p)} or less."
    else:
        said = f"Between {second.name} and {first.name}, {against}, it depends on which answers these are."
    return ReportedPair(first.name, second.name, found, topics, said)


def _knowledge_effect(system: SystemResult) -> KnowledgeEffect | None:
    kf1, shuffled = system.metrics.get("kf1"), system.shuffled_kf1
    if kf1 is None or shuffled is None:
        return None
    fall = kf1.value - shuffled.value
    down = math.hypot(kf1.value - kf1.low, shuffled.high - shuffled.value)
    up = math.hypot(kf1.high - kf1.value, shuffled.value - shuffled.low)
    return KnowledgeEffect(system.name, kf1, shuffled, Estimate(fall, fall - down, fall + up, kf1.n))
