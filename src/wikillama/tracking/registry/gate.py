"""Whether a version is worse than another, by what both were asked: paired where possible, by intervals elsewhere."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wikillama.evaluation.paired_metrics import compare_turns
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.statistics import mcnemar_exact, paired_bootstrap, wilson
from wikillama.evaluation.wording import ALPHA, count, decimals, p_value, with_interval
from wikillama.tracking.registry.evaluations import Evaluated, Key

_WORDS = {"f1": "F1", "kf1": "knowledge-F1", "loss": "loss in nats a token", "correct": "share of correct answers"}
_BETTER = {"f1": 1, "kf1": 1, "loss": -1, "correct": 1}  # the direction in which the metric is better


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure of a version against another's on the same suite, with the same knowledge and judge.

    `difference` is the version's figure minus the other's, with its 95 % interval.
    """

    key: Key
    metric: str
    difference: Estimate
    test: str
    worse: bool  # beyond its interval and, where there is a test, significantly

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Where, what, how much and how sure, in words."""
        return str(self.key), _WORDS[self.metric], with_interval(self.difference, _signed, ", "), self.test

    def __str__(self) -> str:
        on, metric, difference, test = self.cells
        return f"{metric} on {on}: {difference} ({test})"


def _signed(value: float) -> str:
    return f"+{decimals(value, 3)}" if value > 0 else decimals(value, 3)


def verdicts(
    version: Mapping[Key, Evaluated], other: Mapping[Key, Evaluated], same_tokenizer: bool
) -> tuple[Verdict, ...]:
    """Everything that both were asked. Loss is compared under one tokenizer only, since it counts its tokens."""
    found: list[Verdict] = []
    for key in sorted(version.keys() & other.keys(), key=str):
        compare = _dialogues if key.judge is None else _questions
        found += compare(version[key], other[key])
    return tuple(verdict for verdict in found if same_tokenizer or verdict.metric != "loss")


def _dialogues(version: Evaluated, other: Evaluated) -> Iterator[Verdict]:
    replies = {"other": other.predictions, "version": version.predictions}
    paired = {pair.metric: pair for pair in compare_turns(replies) if not math.isnan(pair.difference.low)}
    for metric in ("f1", "kf1", "loss"):
        pair = paired.get(metric)
        if pair is not None:
            both = f"{count(pair.difference.n, 'turn')} of {count(pair.dialogues, 'dialogue')} that both replied to"
            worse = _is_worse(pair.difference, metric) and pair.p < ALPHA
            yield Verdict(version.key, metric, pair.difference, f"{both}, paired, {p_value(pair.p)}", worse)
        elif metric in version.metrics and metric in other.metrics:
            apart = _apart(version.metrics[metric], other.metrics[metric])
            if not math.isnan(apart.low):
                yield Verdict(version.key, metric, apart, "by intervals, not paired", _is_worse(apart, metric))


def _questions(version: Evaluated, other: Evaluated) -> Iterator[Verdict]:
    theirs = {answer.id: answer for answer in other.answers}
    right = [
        (answer.label == "correct", theirs[answer.id].label == "correct")
        for answer in version.answers
        if answer.id in theirs and answer.question == theirs[answer.id].question
    ]
    if right:
        won, lost = right.count((True, False)), right.count((False, True))
        test = mcnemar_exact(won, lost)
        difference = paired_bootstrap([float(a) - b for a, b in right], list(range(len(right))))
        words = f"{count(len(right), 'question')} that both answered, {won} won, {lost} lost, "
        words += f"exact McNemar {p_value(test.p)}"
        yield Verdict(version.key, "correct", difference, words, test.p < ALPHA and lost > won)
    elif version.counts is not None and other.counts is not None:
        apart = _apart(*(wilson(counts[0], sum(counts)) for counts in (version.counts, other.counts)))
        yield Verdict(version.key, "correct", apart, "by Wilson's intervals, not paired", _is_worse(apart, "correct"))


def _is_worse(difference: Estimate, metric: str) -> bool:
    return difference.high < 0 if _BETTER[metric] > 0 else difference.low > 0


def _apart(mine: Estimate, theirs: Estimate) -> Estimate:
    """The difference of two figures, its interval joined from theirs (Zou and Donner 2008) as if unrelated."""
    difference = mine.value - theirs.value
    down = math.hypot(mine.value - mine.low, theirs.high - theirs.value)
    up = math.hypot(mine.high - mine.value, theirs.value - theirs.low)
    return Estimate(difference, difference - down, difference + up, min(mine.n, theirs.n))
