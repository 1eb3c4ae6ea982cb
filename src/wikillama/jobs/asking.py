"""Questions put to a system by any job."""

from datetime import UTC, datetime

from wikillama.config.schema import EvaluationConfig, KnowledgeConfig
from wikillama.evaluation.answering import answers
from wikillama.evaluation.asking import as_examples, judged, stratified
from wikillama.evaluation.judging.lexical import LexicalJudge
from wikillama.evaluation.questions import load_questions
from wikillama.evaluation.results import Answer
from wikillama.evaluation.system import System
from wikillama.jobs.console import bar
from wikillama.tracking.facts import code_tags, environment_tags

QUESTIONS_SUITE = "qa200"


def ask(system: System, knowledge: KnowledgeConfig, evaluation: EvaluationConfig) -> tuple[Answer, ...]:
    """The system's judged answers to `evaluation.questions` of the 200, with the knowledge that held-out turns see."""
    questions = stratified(load_questions(), evaluation.questions)
    examples = as_examples(questions, knowledge.for_split("test_seen"))
    made = answers(system, examples, evaluation, bar(f"{system.name}: questions"))
    return judged(questions, examples, [reply.text for reply in made], LexicalJudge())


def provenance(evaluation: EvaluationConfig, seed: int) -> dict[str, str]:
    """What one must know to repeat an evaluation."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "decoding": f"greedy, at most {evaluation.max_new_tokens} new tokens",
        "seed": str(seed),
        **code_tags(),
        **environment_tags(),
    }
