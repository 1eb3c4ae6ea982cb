"""Questions without an answer, and answers that decline to give one."""

import re

from wikillama.evaluation.judging import patterns
from wikillama.evaluation.judging.matching import CLAUSE, QUESTION, SENTENCE, replace, tokens
from wikillama.evaluation.judging.stance import is_doubtful, stance
from wikillama.evaluation.judging.text import words
from wikillama.evaluation.judging.verdict import Verdict
from wikillama.evaluation.metrics import content_words
from wikillama.evaluation.questions import Question


def refuses(answer: str) -> bool:
    """Whether the text says that its author does not know or cannot tell."""
    return patterns.REFUSES.search(" ".join(words(answer))) is not None


def judge_unanswerable(question: Question, answer: str) -> Verdict:
    """An answer to a question that has none: declining and correcting its premise are correct, answering is wrong."""
    where = answer.strip()[:80]
    asked = content_words(question.question)
    groups = [list(group) for group in question.must_include if group] or [[question.reference, *question.aliases]]
    accepted = all("KEY" in replace(answer, {"KEY": group}) for group in groups)
    corrects = accepted or _corrects(answer, asked)
    if stance(replace(answer, {"KEY": question.must_not_include}), asked).stated:
        return Verdict("ambiguous" if corrects else "wrong", 0.5 if corrects else 0.05, f"forbidden: in {where!r}")
    if corrects:
        return Verdict("correct", 0.9, f"abstained: {where}")
    if refuses(answer):
        if _guesses(answer):
            return Verdict("ambiguous", 0.5, f"hedged: an abstention, and then an answer, {where}")
        return Verdict("correct", 0.9, f"abstained: {where}")
    if is_doubtful(answer):
        return Verdict("ambiguous", 0.4, f"hedged: {where}")
    return Verdict("wrong", 0.1, "answered: a question that has no answer")


def _guesses(answer: str) -> bool:
    """Whether an answer follows after "but" or in a later sentence."""
    text = " ".join(tokens(answer))
    later = re.split(rf"\bbut\b|[{SENTENCE}{QUESTION}]", text)[1:]
    polite = (patterns.REFUSES, patterns.OFFERS_HELP)
    return any(patterns.GUESS.search(part) and not any(p.search(part) for p in polite) for part in later)


def _corrects(answer: str, asked: set[str]) -> bool:
    """Whether the text says that nobody knows, or denies the premise: in so many words, by opening with "no", or by
    negating words of the question.

    Negations within a reason or a relative clause do not count: "because he did not like the prize" answers.
    """
    if patterns.UNKNOWN.search(" ".join(words(answer))):
        return True
    text = " ".join(tokens(answer))
    if patterns.PREMISE_IS_FALSE.search(text) or re.match(r"(?:actually )?(?:no|nope)\b", text):
        return True
    mains = [patterns.REASON.sub("", clause) for clause in re.split(rf"[{CLAUSE}{SENTENCE}{QUESTION}]", text)]
    return any(
        patterns.NEGATION.search(main) and asked & set(main.split()) and not patterns.REFUSES.search(main)
        for main in mains
    )
