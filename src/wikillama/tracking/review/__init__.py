"""Manual assessment: blind answers in MLflow's review queues, and the labels that people give there."""

from wikillama.tracking.review.adjudication import adjudicate
from wikillama.tracking.review.answers import Answer
from wikillama.tracking.review.create import Review, create_review
from wikillama.tracking.review.labels import Label, Progress, ReviewLabels, collect_review
from wikillama.tracking.review.queues import GUIDELINE, VERDICTS

__all__ = [
    "GUIDELINE",
    "VERDICTS",
    "Answer",
    "Label",
    "Progress",
    "Review",
    "ReviewLabels",
    "adjudicate",
    "collect_review",
    "create_review",
]
