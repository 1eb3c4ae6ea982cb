"""Answers to be judged, and who judges which."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from wikillama.errors import InputError

NOBODY = "default"  # whom MLflow names where a server knows no users


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply of a system to an item, with what it is judged by: a reference and passages of knowledge.

    `reference` and `knowledge` belong to the item. They must not depend on the system, or they would tell it.
    """

    item_id: str
    system: str
    topic: str | None
    question: str
    reply: str
    reference: str | None
    knowledge: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.item_id, self.system

    @property
    def digest(self) -> str:
        """Equal for two answers in which a judge sees the same."""
        seen = [self.question, self.reply, self.reference, list(self.knowledge)]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


def check_answers(answers: Sequence[Answer]) -> None:
    """Raises InputError for answers that cannot be reviewed blindly: none, doubles, or items that tell the system."""
    if not answers:
        raise InputError("review: no answers given")
    of_item: dict[str, tuple[object, ...]] = {}
    seen: set[tuple[str, str]] = set()
    for answer in answers:
        if answer.key in seen:
            raise InputError(f"review: two answers of {answer.system} to {answer.item_id}; keep one")
        seen.add(answer.key)
        item = (answer.question, answer.reference, answer.knowledge)
        if of_item.setdefault(answer.item_id, item) != item:
            raise InputError(
                f"review: question, reference or knowledge of {answer.item_id} differ between systems, which would "
                f"tell {answer.system}; show the same for all"
            )


def deal(items: Sequence[str], annotators: Sequence[str], overlap: float, seed: int) -> dict[str, tuple[str, ...]]:
    """Who judges each item: a share `overlap` of the items goes to everyone, the rest to one annotator in turn.

    All answers to an item go to the same people, so that systems are compared under the same eyes.
    """
    order = random.Random(f"deal {seed}").sample(sorted(items), len(items))
    shared = round(overlap * len(order))
    dealt = {item: tuple(annotators) for item in order[:shared]}
    for n, item in enumerate(order[shared:]):
        dealt[item] = (annotators[n % len(annotators)],)
    return dealt


def normal_name(annotator: str) -> str:
    """The name as MLflow keeps it. Raises InputError for one that MLflow gives to nobody in particular."""
    name = annotator.strip().lower()
    if name in ("", NOBODY):
        raise InputError(f"review: annotator {annotator!r} is nobody in particular; give a name")
    return name
