"""What a judge says, and what a judge is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from wikillama.errors import InputError

if TYPE_CHECKING:
    from wikillama.evaluation.questions import Question

Label = Literal["correct", "wrong", "ambiguous"]
LABELS: tuple[Label, ...] = ("correct", "wrong", "ambiguous")  # rows and columns of every table


@dataclass(frozen=True, slots=True)
class Verdict:
    """A label, the judge's certainty in 0..1 that the answer is correct, and what it saw, as `tag: text`.

    "ambiguous" means that a person has to look. Raises InputError for another label or a score outside 0..1.
    """

    label: Label
    score: float
    evidence: str

    def __post_init__(self) -> None:
        if self.label not in LABELS or not 0 <= self.score <= 1:
            raise InputError(
                f"verdict {self.label!r} with score {self.score}: give one of {LABELS} and a score in 0..1"
            )


class Judge(Protocol):
    """Judges answers to questions. `name` identifies the judge and its version in reports."""

    @property
    def name(self) -> str: ...

    def judge(self, question: "Question", answer: str) -> Verdict: ...


class ReplyJudge(Protocol):
    """Judges whether a reply is supported by its knowledge."""

    @property
    def name(self) -> str: ...

    def judge_reply(self, history: Sequence[str], knowledge: Sequence[str], reply: str) -> Verdict: ...
