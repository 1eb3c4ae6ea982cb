"""What the report says beside the figures computed: the result in words, and tables as rows of text."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wikillama.evaluation.comparison import Comparison, Judged, TopicCount
from wikillama.evaluation.corpus_metrics import signature
from wikillama.evaluation.pairwise import Pair
from wikillama.evaluation.report.differences import differences, few_dialogues
from wikillama.evaluation.report.headline import headline, knowledge
from wikillama.evaluation.report.metrics import metric_rows
from wikillama.evaluation.results import Answer, Evaluation, SystemResult
from wikillama.evaluation.statistics import small_sample_warning
from wikillama.evaluation.wording import decimals

EXAMPLES = 20  # of each kind
_KIND = re.compile(r"^([a-z_ ]{1,20}):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """A question that one system answers correctly and the other does not."""

    first: Answer
    second: Answer


@dataclass(frozen=True, slots=True)
class Cell:
    """Questions behind a cell of a transition matrix."""

    before: str
    after: str
    questions: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class PairLists:
    cells: tuple[Cell, ...]
    won: tuple[Example, ...]
    lost: tuple[Example, ...]


def content(evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    """What the templates show beside the evaluation, its comparison and figures."""
    measured = [system for system in evaluation.systems if system.metrics]
    return {
        "headline": headline(evaluation, comparison),
        "knowledge": knowledge(evaluation),
        "lists": tuple(pair_lists(pair, {s.name: s.answers for s in evaluation.systems}) for pair in comparison.pairs),
        "topics": _topic_rows(comparison.systems),
        "measured": measured,
        "metrics": metric_rows(measured),
        "differences": differences(comparison.metric_pairs),
        "few_dialogues": few_dialogues(comparison.metric_pairs),
        "signature": signature() if any("bleu4" in system.metrics for system in measured) else None,
        "reasons": _reasons(evaluation.systems),
        "costs": _cost_rows(evaluation.systems),
        "few_a_topic": _few_a_topic(comparison),
        "limits": _limits(evaluation, comparison),
    }


def pair_lists(pair: Pair, answers: Mapping[str, Sequence[Answer]]) -> PairLists:
    """The questions behind a pair's counts; `answers` by system."""
    first, second = ({answer.id: answer for answer in answers[name]} for name in (pair.first, pair.second))
    table = pair.transition
    cells = tuple(
        Cell(before, after, tuple(first[item] for item in ids))
        for before, row in zip(table.row_names, table.ids, strict=True)
        for after, ids in zip(table.column_names, row, strict=True)
        if ids
    )
    won, lost = (tuple(Example(first[i], second[i]) for i in ids[:EXAMPLES]) for ids in (table.gained, table.lost))
    return PairLists(cells, won, lost)


def _topic_rows(systems: Sequence[Judged]) -> list[tuple[str, list[TopicCount | None]]]:
    """Counts of each topic by system; None where a system answers nothing of it."""
    counts = [{topic.topic: topic for topic in system.topics} for system in systems]
    topics = dict.fromkeys(topic for of_system in counts for topic in of_system)
    return [(topic, [of_system.get(topic) for of_system in counts]) for topic in topics]


def _reasons(systems: Sequence[SystemResult]) -> list[tuple[str, list[int]]]:
    """How often the judge gave which kind of reason, the word before the colon of its evidence, by system."""
    kinds = [
        Counter(_KIND.findall("\n".join(a.evidence for a in system.answers))) for system in systems if system.answers
    ]
    total = sum(kinds, Counter[str]())
    return [(kind, [of_system[kind] for of_system in kinds]) for kind, _ in total.most_common()]


def _cost_rows(systems: Sequence[SystemResult]) -> list[tuple[str, list[str]]]:
    """Costs that any system has a figure of, a row each with a figure by system."""
    rows = {
        "start, s": ("start_s", 1),
        "first token, ms": ("ttft_ms", 0),
        "one reply, s": ("reply_s", 2),
        "tokens a second, in batches": ("tokens_per_s", 0),
        "peak memory, GB": ("peak_gb", 2),
        "adapter, MB": ("adapter_mb", 1),
    }
    found = []
    for name, (field, digits) in rows.items():
        values = [getattr(system.costs, field) for system in systems]
        if any(value is not None for value in values):
            shown = [decimals(math.nan if value is None else value, digits) for value in values]
            found.append((name, shown))
    return found


def _few_a_topic(comparison: Comparison) -> str | None:
    sizes = [topic.share.n for system in comparison.systems for topic in system.topics]
    return small_sample_warning(min(sizes)) if sizes else None


def _limits(evaluation: Evaluation, comparison: Comparison) -> list[str]:
    """What the figures do not say."""
    said = []
    if comparison.systems:
        if "lexical" in (evaluation.judge or ""):
            said.append(
                "The judge goes by words. It calls wrong: a right paraphrase without an accepted wording (“the French "
                "capital” for Paris), a demonym (“Japanese” for Japan), a misspelt name. It can call correct: a false "
                "statement about the right answer. Its labels sort answers for people, whose labels count."
            )
        elif not comparison.by_people:
            said.append("An automatic judge errs; how often, only people's labels of the same answers tell.")
        said.append(
            "Intervals and tests are over questions: they say how much other questions of this kind would change the "
            "figures, not another training run or another judge."
        )
        said.append("No detectable difference is not equality: the interval of the difference says what is left open.")
        warning = small_sample_warning(comparison.systems[0].strict.n)
        if warning:
            said.append(f"Few questions: {warning}.")
    if any(system.metrics for system in evaluation.systems):
        said.append(
            "Overlap of words measures wording, not truth: a copy of the knowledge has the highest knowledge-F1, and a "
            "good reply in other words scores low. Relevance is this project's own measure and has the same weakness."
        )
    if evaluation.knowledge == "gold":
        said.append("Gold knowledge holds the answer: these figures say nothing about finding it.")
    return said
