"""Metrics of a system over many replies, each with a 95 % interval over resampled dialogues."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from wikillama.errors import InputError
from wikillama.evaluation.metrics import (
    RareWords,
    best_prec_rec_f1,
    bleu4,
    distinct,
    knowledge_f1_parlai,
    knowledge_overlap,
    rare_f1,
    relevance,
    rouge_l,
    rouge_l_recall,
)
from wikillama.evaluation.resampling import Estimate as Estimate
from wikillama.evaluation.resampling import Floats, cluster_sums, percentile_interval, resampled_sums

_ORDERS = 4  # BLEU-4


@dataclass(frozen=True, slots=True)
class Reply:
    """A system's reply to a held-out turn, with what it is measured against."""

    reply: str
    references: tuple[str, ...]  # of humans, at least one
    knowledge: tuple[str, ...] | None  # sentences that the human used; None or empty: none
    history: tuple[str, ...]  # utterances before it, oldest first
    topic: str | None
    cluster: str  # id of the dialogue


class LikelihoodMetrics(NamedTuple):
    ppl: float  # per token: comparable under one tokenizer only
    bits_per_byte: float  # comparable across tokenizers


def likelihood_metrics(nll_sum: float, tokens: int, utf8_bytes: int) -> LikelihoodMetrics:
    """Perplexity and bits per byte of human replies, from their summed negative log likelihood in nats.

    `tokens` counts what was predicted, end tokens included; `utf8_bytes` the replies' own bytes. Raises InputError
    where there is nothing to divide by.
    """
    if tokens <= 0 or utf8_bytes <= 0:
        raise InputError(f"likelihood over {tokens} tokens and {utf8_bytes} bytes: give replies that hold some")
    return LikelihoodMetrics(math.exp(nll_sum / tokens), nll_sum / math.log(2) / utf8_bytes)


def signature(references: int = 1) -> str:
    """How sacreBLEU computed `bleu4`, in its own words, for replies with so many references each."""
    bleu = BLEU()
    bleu.corpus_score(["a"], [["a"]] * references)
    return str(bleu.get_signature())


def score_replies(
    replies: Sequence[Reply],
    rare_words: RareWords | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    further: Mapping[str, Sequence[float | None]] | None = None,
) -> dict[str, Estimate]:
    """Every metric that the replies have the fields for; `n` of an estimate is the number of turns it counts.

    Proportions in 0..1, except `bleu4` (sacreBLEU's scale, 0..100) and `mean_words`. `precision`, `recall`, `f1`:
    overlap with the references. `kf1`, `know_precision`, `know_recall`: overlap with the knowledge, over turns that
    have some; `kf1_parlai`: over all turns, if any has some. `rare_f1` drops words that the corpus of `rare_words`
    lacks, `rare_f1_unseen_kept` keeps them. `bleu4` is of the corpus, `bleu4_parlai` the mean over replies. For
    `relevance_*` see `metrics.relevance`. `further` holds metrics of each reply that were computed elsewhere.
    Intervals are percentiles over resampled dialogues, nan for one.

    distinct-n has none: a resample repeats dialogues, repeated dialogues bring no new n-gram, so every resample lies
    below the estimate.

    Raises InputError for no replies, or one without a reference.
    """
    if not replies:
        raise InputError("no replies to score: generate some first")
    for place, reply in enumerate(replies):
        if not reply.references:
            raise InputError(f"reply {place + 1} (dialogue {reply.cluster}): no reference; leave the turn out")
    clusters = [reply.cluster for reply in replies]
    per_turn = [_turn_metrics(reply, rare_words) for reply in replies]
    for name, values in (further or {}).items():
        for turn, value in zip(per_turn, values, strict=True):
            turn[name] = value
    estimates = _means(per_turn, clusters, resamples, seed)
    estimates["bleu4"] = _bleu_estimate(replies, clusters, resamples, seed)
    for n in (1, 2):
        value = distinct([reply.reply for reply in replies], n).inter
        estimates[f"distinct_{n}"] = Estimate(value, math.nan, math.nan, len(replies))
    return estimates


def _turn_metrics(turn: Reply, rare: RareWords | None) -> dict[str, float | None]:
    """The metrics of one turn that are averaged over turns; None where the turn does not count."""
    overlap = best_prec_rec_f1(turn.reply, turn.references)
    metrics: dict[str, float | None] = {
        "f1": overlap.f1,
        "precision": overlap.precision,
        "recall": overlap.recall,
        "bleu4_parlai": bleu4(turn.reply, turn.references),
        "rouge_l": rouge_l(turn.reply, turn.references),
        "rouge_l_recall": rouge_l_recall(turn.reply, turn.references),
        "mean_words": len(turn.reply.split()),
        "relevance_history": relevance(turn.reply, turn.history),
    }
    known = knowledge_overlap(turn.reply, turn.knowledge)
    metrics["kf1"] = known and known.f1
    metrics["know_precision"] = known and known.precision
    metrics["know_recall"] = known and known.recall
    metrics["kf1_parlai"] = knowledge_f1_parlai(turn.reply, turn.knowledge)
    metrics["relevance_knowledge"] = relevance(turn.reply, turn.knowledge or ())
    if rare is not None:
        metrics["rare_f1"] = rare_f1(turn.reply, turn.references, rare, unseen="drop")
        metrics["rare_f1_unseen_kept"] = rare_f1(turn.reply, turn.references, rare, unseen="keep")
    return metrics


def _means(
    turns: Sequence[dict[str, float | None]], clusters: Sequence[str], resamples: int, seed: int
) -> dict[str, Estimate]:
    """Means over turns of the metrics that at least one turn has, resampled together."""
    names = [name for name in turns[0] if any(turn[name] is not None for turn in turns)]
    if "kf1" not in names:  # without any knowledge, ParlAI's figure is of the words "no passages used" alone
        names.remove("kf1_parlai")
    values = np.array([[turn[name] for name in names] for turn in turns], float)  # None becomes nan
    counted = ~np.isnan(values)
    sums = cluster_sums(np.column_stack([np.where(counted, values, 0.0), counted]), clusters)
    drawn = resampled_sums(sums, resamples, seed)
    estimates = {}
    for place, name in enumerate(names):
        total, turns_by_cluster = sums[:, place], sums[:, len(names) + place]
        with np.errstate(invalid="ignore"):  # nan for a resample without a turn that counts
            resampled = drawn[:, place] / drawn[:, len(names) + place]
        n = int(turns_by_cluster.sum())
        estimates[name] = _interval(total.sum() / n, resampled, int(np.count_nonzero(turns_by_cluster)), n)
    return estimates


def _bleu_estimate(replies: Sequence[Reply], clusters: Sequence[str], resamples: int, seed: int) -> Estimate:
    """Corpus BLEU-4 from sacreBLEU's counts of each reply, which add up to those of the corpus."""
    sums = cluster_sums(bleu_counts(replies), clusters)
    drawn = corpus_bleu(resampled_sums(sums, resamples, seed))
    return _interval(float(corpus_bleu(sums.sum(0, keepdims=True))[0]), drawn, len(sums), len(replies))


def bleu_counts(replies: Sequence[Reply]) -> list[list[float]]:
    """What each reply adds to the sums that `corpus_bleu` takes."""
    bleu = BLEU(effective_order=True)  # what sacreBLEU wants of single sentences; the counts are the same
    scores = [bleu.sentence_score(reply.reply, list(reply.references)) for reply in replies]
    return [[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores]


def corpus_bleu(sums: Floats) -> Floats:
    """sacreBLEU's BLEU-4 (0..100) of many corpora at once.

    `sums` is (corpora, 10): words of the system and of the nearest references, then matched and total n-grams of
    orders 1 to 4. Smoothing is sacreBLEU's default, "exp": 1/2 a match for the first order without one, then 1/4, ...
    """
    system, expected = sums[:, 0], sums[:, 1]
    matched, total = sums[:, 2 : 2 + _ORDERS], sums[:, 2 + _ORDERS :]
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.exp(np.minimum(0.0, 1 - expected / system))
        smoothed = np.where(matched > 0, matched, 0.5 ** np.cumsum(matched == 0, 1))
        scores = 100 * penalty * np.exp(np.log(smoothed / total).mean(1))
    return np.asarray(np.where(matched.any(1) & (total > 0).all(1), scores, 0.0))


def _interval(value: float, resampled: Floats, clusters: int, n: int) -> Estimate:
    if clusters < 2:  # resamples of one dialogue do not vary
        return Estimate(float(value), math.nan, math.nan, n)
    return percentile_interval(float(value), resampled, n)
