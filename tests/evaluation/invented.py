"""An invented evaluation: the counts are the study's, by topic as well, the answers and their pairing are ours."""

from collections.abc import Mapping, Sequence

from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Answer, Costs, Evaluation, Prediction, SystemResult
from wikillama.evaluation.study import REPORTED, TOPICS

NAMES = ("base", "no-qlora", "qlora")
HARDWARE = "two cores"


def study_labels(system: int) -> dict[str, str]:
    """200 labels with a system's margins in the study; in each topic, the first questions are answered correctly."""
    row = REPORTED[system]
    correct = list(row.by_topic)
    correct[0] += row.correct - sum(correct)  # the bars of the base add up to one less than its table
    ambiguous = row.ambiguous
    labels = {}
    for topic, right in zip(TOPICS, correct, strict=True):
        for place in range(20):
            label = "correct" if place < right else "wrong"
            if label == "wrong" and ambiguous:
                label, ambiguous = "ambiguous", ambiguous - 1
            labels[f"{topic}-{place + 1:03d}"] = label
    return labels


def system(
    name: str,
    labels: Mapping[str, str],
    reply: str = "It is that one.",
    metrics: Mapping[str, Estimate] | None = None,
    costs: Costs | None = None,
    shuffled_kf1: Estimate | None = None,
) -> SystemResult:
    answers = tuple(
        Answer(
            id=item,
            topic=item.rpartition("-")[0],
            question=f"What is {item}?",
            reference=f"It is {item}.",
            knowledge=(f"There is {item}.",),
            reply=reply,
            label=label,
            score=0.9 if label == "correct" else 0.1,
            evidence="accepted: that one" if label == "correct" else "absent: no accepted wording",
        )
        for item, label in labels.items()
    )
    return SystemResult(name, costs or Costs(HARDWARE), answers, metrics or {}, shuffled_kf1)


def evaluation(
    systems: Sequence[SystemResult],
    human: Mapping[str, Mapping[str, str]] | None = None,
    annotators: Mapping[str, Mapping[str, str]] | None = None,
    suite: str = "qa200",
) -> Evaluation:
    return Evaluation(
        suite, "gold", "lexical-1", tuple(systems), {"commit": "0123abc", "seed": "1"}, human or {}, annotators or {}
    )


def like_the_study(reply: str = "It is that one.") -> Evaluation:
    return evaluation([system(name, study_labels(place), reply) for place, name in enumerate(NAMES)])


def measured() -> tuple[SystemResult, ...]:
    """Two systems with metrics alone."""
    nan = float("nan")
    base = {
        "f1": Estimate(0.2, 0.18, 0.22, 3865),
        "kf1": Estimate(0.27, 0.25, 0.29, 3600),
        "kf1_parlai": Estimate(0.26, 0.24, 0.28, 3865),
        "bleu4": Estimate(4.213, 3.9, 4.5, 3865),
        "distinct_2": Estimate(0.41, nan, nan, 3865),
        "ppl": Estimate(1234.5, 1200.25, 1300.75, 3865),
        "bits_per_byte": Estimate(0.81, 0.79, 0.83, 3865),
        "of_tomorrow": Estimate(0.5, 0.4, 0.6, 10),
    }
    tuned = {**base, "kf1": Estimate(0.47, 0.45, 0.49, 3600), "ppl": Estimate(8.25, 8, 8.5, 3865)}
    costs = Costs(HARDWARE, start_s=2.5, ttft_ms=80, reply_s=1.2, tokens_per_s=1200, peak_gb=3.2, adapter_mb=60.0)
    return (
        SystemResult("base", Costs(HARDWARE, reply_s=1.1, peak_gb=3.1), metrics=base),
        SystemResult("tuned", costs, metrics=tuned, shuffled_kf1=Estimate(0.17, 0.13, 0.20, 3600)),
    )


def replies(dialogues: Sequence[str]) -> list[Prediction]:
    """A turn for each name of a dialogue, with knowledge and a reply to it."""
    return [
        Prediction(
            id=f"{dialogue}:{place}", dialogue_id=dialogue, topic=None, history=("Hello there.",),
            knowledge=("Tea is old.",), gold_knowledge="Tea is old.",
            reference=f"Yes, {dialogue} is what I like to drink {place} times.",
            reply="Tea is what I like.", f1=0.5, kf1=0.4,
        )
        for place, dialogue in enumerate(dialogues)
    ]  # fmt: skip
