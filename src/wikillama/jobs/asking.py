"""Questions put to a system by any job."""

from collections.abc import Sequence
from datetime import UTC, datetime

from wikillama.config.schema import EvaluationConfig, KnowledgeConfig
from wikillama.data.retrieval.on_demand import IndexSource
from wikillama.evaluation.answering import answers
from wikillama.evaluation.asking import as_examples, judged
from wikillama.evaluation.judging.verdict import Judge
from wikillama.evaluation.questions import Question
from wikillama.evaluation.results import Answer
from wikillama.evaluation.system import System
from wikillama.jobs.console import bar
from wikillama.tracking.facts import code_tags, environment_tags

QUESTIONS_SUITE = "qa200"


def ask(
    system: System,
    questions: Sequence[Question],
    knowledge: KnowledgeConfig,
    evaluation: EvaluationConfig,
    judge: Judge,
    index: IndexSource | None = None,
) -> tuple[Answer, ...]:
    """The system's judged answers to questions."""
    examples = as_examples(questions, knowledge, index)
    made = answers(system, examples, evaluation, bar(f"{system.name}: questions"))
    return judged(questions, examples, [reply.text for reply in made], judge)


def provenance(evaluation: EvaluationConfig, seed: int) -> dict[str, str]:
    """What one must know to repeat an evaluation."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "decoding": f"greedy, at most {evaluation.max_new_tokens} new tokens",
        "seed": str(seed),
        **code_tags(),
        **environment_tags(),
    }
