"""Manual assessment: answers into review queues of the MLflow UI, and people's labels back."""

from collections import defaultdict
from dataclasses import dataclass

from wikillama.config.schema import EvaluateConfig
from wikillama.evaluation.results import Evaluation
from wikillama.jobs.console import console
from wikillama.tracking.facts import shown
from wikillama.tracking.remote import is_server
from wikillama.tracking.review.adjudication import adjudicate
from wikillama.tracking.review.answers import Answer
from wikillama.tracking.review.create import create_review
from wikillama.tracking.review.labels import collect_review


@dataclass(frozen=True)
class ReviewedLabels:
    """`settled`: system -> question -> label that counts; `by_annotator`: annotator -> "system question" -> label."""

    settled: dict[str, dict[str, str]]
    by_annotator: dict[str, dict[str, str]]


def review_experiment(cfg: EvaluateConfig) -> str:
    """The MLflow experiment that holds the review of a suite under one mode of knowledge, and nothing else."""
    return f"{cfg.tracking.experiment}-review-{cfg.suite.name}-{cfg.knowledge.mode}"


def create(cfg: EvaluateConfig, found: Evaluation) -> None:
    """Put all answers before the annotators, without a hint of who gave them, and say where they work."""
    answers = [
        Answer(a.id, system.name, a.topic, a.question, a.reply, a.reference, a.knowledge)
        for system in found.systems
        for a in system.answers
    ]
    review = create_review(
        cfg.tracking.uri, review_experiment(cfg), answers, cfg.review.annotators, cfg.review.overlap, cfg.seed
    )
    address, start = shown(cfg.tracking.uri).rstrip("/"), ""
    if not is_server(cfg.tracking.uri):
        start = f"start the server, `mlflow server --backend-store-uri {address} --host 127.0.0.1`, then "
        address = "http://127.0.0.1:5000"
    console.print(f"  {review.added} answers added; {start}open the page of an annotator:", soft_wrap=True)
    for annotator in cfg.review.annotators:
        console.print(f"  {annotator}: {address}{review.page(annotator)}", soft_wrap=True, markup=False)


def reviewed(cfg: EvaluateConfig) -> ReviewedLabels:
    """What people said so far; answers on which they disagree are put before the adjudicator."""
    experiment = review_experiment(cfg)
    labels = collect_review(cfg.tracking.uri, experiment)
    for annotator, progress in labels.progress.items():
        console.print(f"  {annotator}: {progress.done} of {progress.total} answers judged")
    if labels.disputed():
        adjudicate(cfg.tracking.uri, experiment, cfg.review.adjudicator)
        console.print(
            f"  {len(labels.disputed())} answers disputed, in the queue of {cfg.review.adjudicator}: "
            f"{labels.adjudication.done} settled"
        )
    settled: dict[str, dict[str, str]] = defaultdict(dict)
    for (item, system), label in labels.settled().items():
        settled[system][item] = label
    by_annotator: dict[str, dict[str, str]] = defaultdict(dict)
    for (item, system), given in labels.by_annotator().items():
        for annotator, label in given.items():
            by_annotator[annotator][f"{system} {item}"] = label
    return ReviewedLabels(dict(settled), dict(by_annotator))
