"""What the study reports of its own systems, for comparison. Source: "Optimizing Llama 2 for Knowledge-Grounded
Dialogue", its table of manual assessment over 200 questions, and its figure by topic (20 questions each)."""

from typing import NamedTuple

from wikillama.evaluation.questions import TOPICS

__all__ = ["REPORTED", "TOPICS", "Reported"]


class Reported(NamedTuple):
    """Counts of answers as the study gives them; `by_topic` is correct answers in the order of `questions.TOPICS`."""

    name: str
    correct: int
    wrong: int
    ambiguous: int
    by_topic: tuple[int, ...]


# the base's bars are read off the figure and add up to 121, one less than the table's 122
REPORTED = (
    Reported("Llama 2 base", 122, 68, 10, (14, 10, 10, 9, 9, 10, 12, 17, 17, 13)),
    Reported("fine-tuned without QLoRA", 152, 45, 3, (18, 12, 13, 12, 11, 13, 16, 20, 20, 17)),
    Reported("fine-tuned with QLoRA", 149, 48, 3, (18, 12, 12, 12, 11, 13, 14, 20, 20, 17)),
)
