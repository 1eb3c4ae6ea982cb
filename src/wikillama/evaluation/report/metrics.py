"""The table of metrics: what each is called, what it is, and how its figures are written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import SystemResult
from wikillama.evaluation.wording import NOTHING, decimals, share, with_interval

# key, name, what it is; in the order of the table
METRICS = {
    "loss": ("loss", "of human replies, nats a token; lower is better"),
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
    "cosine_history": ("nearness to the talk", "cosine of sentence embeddings: meaning, not truth"),
    "cosine_knowledge": ("nearness to the knowledge", "cosine of sentence embeddings: meaning, not truth"),
}
_DIGITS = {"ppl": 2, "loss": 3, "bits_per_byte": 3, "bleu4": 2, "mean_words": 1}  # others are shares


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of each system as text; `n` counts turns, all sizes where systems differ."""

    name: str
    meaning: str
    n: str
    values: tuple[str, ...]  # by system


def is_share(key: str) -> bool:
    """Whether a metric lies in 0..1 and is written without its leading zero."""
    return key not in _DIGITS


def plain(key: str) -> Callable[[float], str]:
    """How values of a metric are written, in its own digits."""
    digits = _DIGITS.get(key)
    return share if digits is None else lambda value: decimals(value, digits)


def figure(key: str, estimate: Estimate) -> str:
    """A metric's value and interval in its own digits."""
    return with_interval(estimate, plain(key), "," if is_share(key) else ", ")


def metric_rows(systems: Sequence[SystemResult]) -> list[MetricRow]:
    """A row for each metric that any system has; metrics unknown to this table come last under their own names."""
    present = {key for system in systems for key in system.metrics}
    keys = [key for key in METRICS if key in present] + sorted(present - METRICS.keys())
    rows = []
    for key in keys:
        name, meaning = METRICS.get(key, (key, ""))
        found = [system.metrics.get(key) for system in systems]
        sizes = dict.fromkeys(f"{estimate.n:,}" for estimate in found if estimate)
        values = tuple(NOTHING if estimate is None else figure(key, estimate) for estimate in found)
        rows.append(MetricRow(name, meaning, " / ".join(sizes), values))
    return rows
