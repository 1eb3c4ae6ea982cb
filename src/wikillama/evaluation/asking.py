"""Questions as a system meets them, and what a judge makes of its answers."""

from collections.abc import Sequence

from wikillama.config.schema import KnowledgeConfig
from wikillama.data.corpus import evenly
from wikillama.data.dialogue import Example, Sentence
from wikillama.data.retrieval.on_demand import IndexSource
from wikillama.data.selection import rank
from wikillama.evaluation.judging.verdict import Judge
from wikillama.evaluation.questions import Question, knowledge_for
from wikillama.evaluation.results import Answer


def stratified(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """So many questions, evenly over topics and within each; all where there is no limit.

    Where topics cannot share evenly, the first ones get one more.
    """
    if limit is None or limit >= len(questions):
        return list(questions)
    by_topic: dict[str, list[Question]] = {}
    for question in questions:
        by_topic.setdefault(question.topic, []).append(question)
    share, more = divmod(limit, len(by_topic))
    return [
        of_topic[place]
        for number, of_topic in enumerate(by_topic.values())
        for place in (evenly(len(of_topic), share + (number < more)) if share + (number < more) else ())
    ]


def as_examples(
    questions: Sequence[Question], knowledge: KnowledgeConfig, index: IndexSource | None = None
) -> list[Example]:
    """Each question as the opening of a conversation, with the knowledge that a mode shows.

    `retrieved`: the best k sentences of the passage, distractors included, ranked against the question; with an index,
    the best k of that. `shuffled`: the gold knowledge of a question of another topic.
    """
    examples = []
    for place, question in enumerate(questions):
        shown: Sequence[tuple[str | None, str]] = []
        if knowledge.mode == "gold":
            shown = knowledge_for(question, "gold")
        elif knowledge.mode == "retrieved" and index is not None:
            shown = [found.sentence for found in index.open().search(None, [question.question], knowledge.k)]
        elif knowledge.mode == "retrieved":
            on_hand = knowledge_for(question, "retrieved")
            order = rank(question.question, [f"{title} {text}" for title, text in on_hand])
            shown = [on_hand[i] for i in order[: knowledge.k]]
        elif knowledge.mode == "shuffled":
            later = (questions[(place + step) % len(questions)] for step in range(1, len(questions)))
            other = next((q for q in later if q.topic != question.topic), None)
            shown = knowledge_for(other, "gold") if other else []
        examples.append(
            Example(
                id=question.id,
                dialogue_id=question.id,
                history=(("apprentice", question.question),),
                response=question.reference,
                knowledge=tuple(Sentence(title, text) for title, text in shown),
            )
        )
    return examples


def judged(
    questions: Sequence[Question], examples: Sequence[Example], replies: Sequence[str], judge: Judge
) -> tuple[Answer, ...]:
    """The replies with the judge's verdicts."""
    answers = []
    for question, example, reply in zip(questions, examples, replies, strict=True):
        verdict = judge.judge(question, reply)
        answers.append(
            Answer(
                id=question.id,
                topic=question.topic,
                question=question.question,
                reference=question.reference,
                knowledge=tuple(sentence.text for sentence in example.knowledge),
                reply=reply,
                label=verdict.label,
                score=verdict.score,
                evidence=verdict.evidence,
            )
        )
    return tuple(answers)
