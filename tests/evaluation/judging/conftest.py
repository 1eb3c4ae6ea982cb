"""Questions for judges, and replies that people have judged, where they are at hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.evaluation.questions import Question

JUDGED = ROOT.parent / "shared" / "data" / "judged"


@pytest.fixture(scope="session")
def judged() -> Path:
    """The folder with the public sets of labelled replies."""
    if not JUDGED.exists():
        pytest.skip(f"{JUDGED} is not here")
    return JUDGED


@pytest.fixture(scope="session")
def ask() -> Callable[..., Question]:
    """`ask("Who ...?", "Pablo Picasso", ...)`: a question, complete but for what is given."""

    def make(question: str, reference: str, **given: Any) -> Question:
        fields: dict[str, Any] = {
            "id": "art-001", "topic": "art", "answer_type": "name", "aliases": (), "must_include": (),
            "must_not_include": (), "answerable": True, "ambiguity": None, "knowledge": (), "difficulty": "easy",
            "as_of": "2023-01-01", "version": 1,
        }  # fmt: skip
        return Question(question=question, reference=reference, **fields | given)

    return make
