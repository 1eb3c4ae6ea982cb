"""What the report says beside the figures computed: the result in words, and tables as rows of text."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wikillama.evaluation.comparison import Comparison
from wikillama.evaluation.corpus_metrics import signature
from wikillama.evaluation.pairwise import Pair
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Answer, Evaluation, SystemResult
from wikillama.evaluation.statistics import small_sample_warning
from wikillama.evaluation.wording import NOTHING, count, decimals, with_interval

EXAMPLES = 20  # of each kind
_KNOWLEDGE = {
    "gold": "gold knowledge",
    "retrieved": "retrieved knowledge",
    "none": "no knowledge",
    "shuffled": "the knowledge of other dialogues",
}
# key, name, what it is; in the order of the table
_METRICS = {
    "ppl": ("perplexity", "of human replies, per token: comparable under one tokenizer only; lower is better"),
    "bits_per_byte": ("bits per byte", "of human replies: comparable across tokenizers; lower is better"),
    "f1": ("F1", "words shared with the human reply"),
    "precision": ("precision", "share of the reply's words that the human reply has"),
    "recall": ("recall", "share of the human reply's words that the reply has"),
    "kf1": ("knowledge-F1", "words shared with the knowledge that the human used, over turns that used some"),
    "kf1_parlai": ("knowledge-F1, ParlAI", "over all turns; one without knowledge counts as “no passages used”"),
    "know_precision": ("knowledge precision", "share of the reply's words that the knowledge has"),
    "know_recall": ("knowledge recall", "share of the knowledge's words that the reply has"),
    "rare_f1": ("rare-word F1", "F1 without frequent words and without words that the corpus lacks"),
    "rare_f1_unseen_kept": ("rare-word F1, unseen kept", "F1 without frequent words"),
    "bleu4": ("BLEU-4", "of the corpus, 0 to 100"),
    "bleu4_parlai": ("BLEU-4, ParlAI", "mean over replies, 0 to 1"),
    "rouge_l": ("ROUGE-L", "F-measure against the human reply"),
    "rouge_l_recall": ("ROUGE-L recall", "as ParlAI reports it"),
    "distinct_1": ("distinct-1", "share of different words over all replies; falls with their number"),
    "distinct_2": ("distinct-2", "share of different word pairs over all replies; falls with their number"),
    "mean_words": ("words a reply", ""),
    "relevance_history": ("relevance to the talk", "share of the reply's content words that the dialogue so far has"),
    "relevance_knowledge": ("relevance to the knowledge", "share of its content words that the knowledge has"),
}
_DIGITS = {"ppl": 2, "bits_per_byte": 3, "bleu4": 2, "mean_words": 1}  # others are shares
_HEADLINES = ("f1", "kf1", "ppl")
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


@dataclass(frozen=True, slots=True)
class MetricRow:
    name: str
    meaning: str
    n: str
    values: tuple[str, ...]  # by system


def content(evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    """What the templates show beside the evaluation, its comparison and figures."""
    measured = [system for system in evaluation.systems if system.metrics]
    return {
        "headline": headline(evaluation, comparison),
        "knowledge": _knowledge(evaluation),
        "lists": tuple(_lists(pair, evaluation) for pair in comparison.pairs),
        "examples": EXAMPLES,
        "measured": measured,
        "metrics": _metric_rows(measured),
        "signature": signature() if any("bleu4" in system.metrics for system in measured) else None,
        "reasons": _reasons(evaluation.systems),
        "costs": _cost_rows(evaluation.systems),
        "few_a_topic": _few_a_topic(comparison),
        "limits": _limits(evaluation, comparison),
    }


def headline(evaluation: Evaluation, comparison: Comparison) -> list[str]:
    """The result in words, a paragraph each: what is answered correctly and what differs, how far people agree with
    the labels, and what the metrics over dialogues say."""
    said = []
    if systems := comparison.systems:
        figures = [f"{system.name} {system.correct} ({with_interval(system.strict)})" for system in systems]
        asked = f"{count(systems[0].strict.n, 'question')} with {_knowledge(evaluation)}"
        judge = evaluation.judge or "a judge without a name"
        answered = f"Correct answers to {asked}: {', '.join(figures)}, judged by {judge}."
        said.append(" ".join([answered, *_differences(comparison.pairs)]))
        said.append(_people(comparison))
    if turns := _turns(evaluation):
        said.append(turns)
    return said


def _differences(pairs: Sequence[Pair]) -> list[str]:
    """Sentences on pairs; of many, on those with the first system alone."""
    told = [pair for pair in pairs if len(pairs) <= 3 or pair.first == pairs[0].first]
    warnings = {pair.warning for pair in told if pair.warning}
    return [pair.words for pair in told] + [f"Few questions, {warning}." for warning in sorted(warnings)]


def _people(comparison: Comparison) -> str:
    if not comparison.judge:
        return "No person has labelled these answers: the labels are a machine's."
    pooled = comparison.judge[-1].agreement
    agreed = f"People labelled {count(pooled.n, 'answer')}; the judge agrees with them with a kappa of "
    agreed += f"{with_interval(pooled.kappa_correct)} (correct or not)."
    if not comparison.human_pairs:
        return agreed
    return " ".join([agreed, "By people's labels:", *_differences(comparison.human_pairs)])


def _turns(evaluation: Evaluation) -> str | None:
    parts = []
    for key in _HEADLINES:
        known = [system for system in evaluation.systems if key in system.metrics]
        if known:
            figures = ", ".join(f"{s.name} {_figure(key, s.metrics[key])}" for s in known)
            parts.append(f"{_METRICS[key][0]} is {figures}")
    if not parts:
        return None
    n = max(estimate.n for system in evaluation.systems for estimate in system.metrics.values())
    return f"Over {count(n, 'turn')} with {_knowledge(evaluation)}, {'; '.join(parts)}."


def _knowledge(evaluation: Evaluation) -> str:
    return _KNOWLEDGE.get(evaluation.knowledge, f"{evaluation.knowledge} knowledge")


def _lists(pair: Pair, evaluation: Evaluation) -> PairLists:
    first, second = (
        {answer.id: answer for system in evaluation.systems if system.name == name for answer in system.answers}
        for name in (pair.first, pair.second)
    )
    table = pair.transition
    cells = tuple(
        Cell(before, after, tuple(first[item] for item in ids))
        for before, row in zip(table.row_names, table.ids, strict=True)
        for after, ids in zip(table.column_names, row, strict=True)
        if ids
    )
    won, lost = (tuple(Example(first[i], second[i]) for i in ids[:EXAMPLES]) for ids in (table.gained, table.lost))
    return PairLists(cells, won, lost)


def _figure(key: str, estimate: Estimate) -> str:
    digits = _DIGITS.get(key)
    return with_interval(estimate) if digits is None else with_interval(estimate, lambda v: decimals(v, digits), ", ")


def _metric_rows(systems: Sequence[SystemResult]) -> list[MetricRow]:
    present = {key for system in systems for key in system.metrics}
    keys = [key for key in _METRICS if key in present] + sorted(present - _METRICS.keys())
    rows = []
    for key in keys:
        name, meaning = _METRICS.get(key, (key, ""))
        found = [system.metrics.get(key) for system in systems]
        sizes = dict.fromkeys(f"{estimate.n:,}" for estimate in found if estimate)
        values = tuple(NOTHING if estimate is None else _figure(key, estimate) for estimate in found)
        rows.append(MetricRow(name, meaning, " / ".join(sizes), values))
    return rows


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
        else:
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
