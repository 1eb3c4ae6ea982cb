"""What an evaluation came to: answers, labels, metrics and times of each system, as the report reads them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from wikillama.evaluation.matrices import LABELS
from wikillama.evaluation.resampling import Estimate


@dataclass(frozen=True, slots=True)
class Answer:
    """A system's answer to a question, and what the judge made of it."""

    id: str  # of the question
    topic: str
    question: str
    reference: str
    knowledge: tuple[str, ...]  # sentences that the system saw
    reply: str
    label: str  # correct | wrong | ambiguous
    score: float  # 0..1, how sure the judge is that it is correct
    evidence: str  # the judge's reason, a few words


@dataclass(frozen=True, slots=True)
class Prediction:
    """A held-out turn with a system's reply to it, and how likely the system finds the human one."""

    id: str
    dialogue_id: str
    topic: str | None
    history: tuple[str, ...]
    knowledge: tuple[str, ...]  # sentences that the system saw
    gold_knowledge: str | None
    reference: str
    reply: str
    f1: float
    kf1: float | None
    nll: float | None = None  # of the reference with its end token, nats; None: not measured
    tokens: int | None = None  # of the same


@dataclass(frozen=True, slots=True)
class Costs:
    """What a system takes. Seconds are wall time on `hardware`; None: not measured."""

    hardware: str
    start_s: float | None = None  # until the model could answer
    ttft_ms: float | None = None  # first token of one reply at a time
    reply_s: float | None = None  # one whole reply at a time
    tokens_per_s: float | None = None  # produced in batches
    peak_gb: float | None = None
    adapter_mb: float | None = None  # None: no adapter


@dataclass(frozen=True, slots=True)
class SystemResult:
    """One system. Suites of dialogues leave `answers` empty, suites of questions `predictions`."""

    name: str
    costs: Costs
    answers: tuple[Answer, ...] = ()
    metrics: Mapping[str, Estimate] = field(default_factory=dict)  # named as in `corpus_metrics.score_replies`
    shuffled_kf1: Estimate | None = None  # knowledge-F1 of replies that saw another dialogue's knowledge
    predictions: tuple[Prediction, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The judge's label by question id."""
        return {answer.id: answer.label for answer in self.answers}

    @property
    def counts(self) -> tuple[int, int, int]:
        """Answers that are correct, wrong, ambiguous."""
        counted = Counter(answer.label for answer in self.answers)
        correct, wrong, ambiguous = (counted[label] for label in LABELS)
        return correct, wrong, ambiguous


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Systems compared on the same questions or turns."""

    suite: str
    knowledge: str  # gold | retrieved | none | shuffled
    judge: str | None  # name and version; None: nothing was judged
    systems: tuple[SystemResult, ...]  # the first is what the others are compared with
    provenance: Mapping[str, str]  # commit, packages, hardware, hashes, decoding, seed, date
    human: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # system -> question id -> label that counts
    annotators: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict
    )  # annotator -> "system question id" -> label
