"""Word-overlap metrics, exactly as ParlAI computes them.

Source: parlai/core/metrics.py (`normalize_answer`, `F1Metric`) and parlai/tasks/wizard_of_wikipedia/agents.py
(knowledge F1), facebookresearch/ParlAI at a29567f7, MIT. ParlAI replaces punctuation by a space where SQuAD's script
deletes it, and scores empty against empty as 0: figures of the two are not comparable.
"""

import re
from collections import Counter
from typing import NamedTuple

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\]\\^`{|}~_']")  # ASCII only, as there


class PrecRecF1(NamedTuple):
    precision: float
    recall: float
    f1: float


def normalize_answer(text: str) -> str:
    """Lower case, punctuation and articles replaced by spaces, white space squeezed."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub(" ", text.lower())).split())


def prec_rec_f1(guess: str, reference: str) -> PrecRecF1:
    """Precision, recall and F1 over the multisets of normalized words; zeros where nothing is shared."""
    guessed, expected = normalize_answer(guess).split(), normalize_answer(reference).split()
    same = sum((Counter(guessed) & Counter(expected)).values())
    if same == 0:
        return PrecRecF1(0.0, 0.0, 0.0)
    precision, recall = same / len(guessed), same / len(expected)
    return PrecRecF1(precision, recall, 2 * precision * recall / (precision + recall))


def f1(guess: str, references: list[str]) -> float:
    """The best F1 over the references."""
    return max(prec_rec_f1(guess, reference).f1 for reference in references)
