"""The result in words."""

from collections.abc import Sequence

from wikillama.evaluation.comparison import Comparison
from wikillama.evaluation.pairwise import Pair
from wikillama.evaluation.report.differences import differences_in_words
from wikillama.evaluation.report.metrics import METRICS, figure
from wikillama.evaluation.results import Evaluation
from wikillama.evaluation.wording import count, with_interval

_KNOWLEDGE = {
    "gold": "gold knowledge",
    "retrieved": "retrieved knowledge",
    "none": "no knowledge",
    "shuffled": "the knowledge of other dialogues",
}
_HEADLINES = ("f1", "kf1", "ppl")


def headline(evaluation: Evaluation, comparison: Comparison) -> list[str]:
    """The result in words, a paragraph each: what is answered correctly and what differs, how far people agree with
    the labels, and what the metrics over dialogues say."""
    said = []
    if systems := comparison.systems:
        figures = [f"{s.name} {s.correct} of {s.strict.n} ({with_interval(s.strict)})" for s in systems]
        judge = evaluation.judge or "a judge without a name"
        answered = f"Correct answers with {knowledge(evaluation)}: {', '.join(figures)}, judged by {judge}."
        said.append(" ".join([answered, *pairs_in_words(comparison.pairs)]))
        if not comparison.by_people:
            said.append(_people(comparison))
    if turns := _turns(evaluation, comparison):
        said.append(turns)
    return said


def pairs_in_words(pairs: Sequence[Pair]) -> list[str]:
    """Sentences on pairs; of more than three, on those with the first system alone."""
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
    return " ".join([agreed, "By people's labels:", *pairs_in_words(comparison.human_pairs)])


def _turns(evaluation: Evaluation, comparison: Comparison) -> str | None:
    parts = []
    for key in _HEADLINES:
        known = [system for system in evaluation.systems if key in system.metrics]
        if known:
            figures = ", ".join(f"of {s.name} {figure(key, s.metrics[key])}" for s in known)
            parts.append(f"{METRICS[key][0]} {figures}")
    if not parts:
        return None
    n = max(estimate.n for system in evaluation.systems for estimate in system.metrics.values())
    falls = [
        f"With another dialogue's knowledge, knowledge-F1 of {effect.system} falls by {with_interval(effect.fall)}."
        for effect in comparison.knowledge
    ]
    differ = differences_in_words(comparison.metric_pairs)
    return " ".join([f"Over {count(n, 'turn')} with {knowledge(evaluation)}: {'; '.join(parts)}.", *differ, *falls])


def knowledge(evaluation: Evaluation) -> str:
    """What the systems saw, to stand after "with"."""
    return _KNOWLEDGE.get(evaluation.knowledge, f"{evaluation.knowledge} knowledge")
