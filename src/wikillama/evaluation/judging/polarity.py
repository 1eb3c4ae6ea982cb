"""What an answer to a yes/no question says, though it may say neither word."""

import re

from wikillama.evaluation.judging import patterns
from wikillama.evaluation.judging.matching import CLAUSE, QUESTION, SENTENCE, tokens
from wikillama.evaluation.judging.stance import is_doubtful
from wikillama.evaluation.judging.text import shared, words
from wikillama.evaluation.judging.verdict import Verdict
from wikillama.evaluation.metrics import content_words
from wikillama.evaluation.questions import Question

RESTATED = 0.6  # of the question's content words, for a text to count as its statement


def is_bare(wording: str) -> bool:
    """Whether the wording is just yes or no, in whichever word."""
    said = " ".join(words(wording))
    return any(p.fullmatch(said) is not None for p in (patterns.YES, patterns.NO))


def by_first_word(question: Question, answer: str) -> Verdict | None:
    """The verdict on an answer that begins with yes, no or the like; None for another."""
    said = _first_word(answer)
    return None if said is None else _compare(question, answer, said)


def by_statement(question: Question, answer: str) -> Verdict | None:
    """The verdict on an answer that states what was asked, or denies it; None for another."""
    said = _statement(answer, question.question)
    return None if said is None else _compare(question, answer, said)


def _compare(question: Question, answer: str, said: bool) -> Verdict | None:
    expected = _first_word(question.reference)
    if expected is None:
        expected = _statement(question.reference, question.question)
    if expected is None:
        return None
    if is_doubtful(answer):
        return Verdict("ambiguous", 0.5, f"hedged: {answer.strip()[:80]}")
    meant = "yes" if said else "no"
    if said == expected:
        return Verdict("correct", 0.9, f"accepted: {meant}")
    return Verdict("wrong", 0.1, f"contrary: {meant}")


def _first_word(text: str) -> bool | None:
    said = " ".join(words(text))
    if patterns.NO.match(said):
        return False
    return True if patterns.YES.match(said) else None


def _statement(text: str, question: str) -> bool | None:
    first = re.split(f"[{CLAUSE}{SENTENCE}{QUESTION}]", " ".join(tokens(text)))[0].strip()
    alone = patterns.SHORT_ANSWER.fullmatch(first)
    if alone:
        return alone["no"] is None and not alone["verb"].endswith(" t")
    asked, said = sorted(content_words(question)), content_words(text)
    restated = sum(shared(asked, said)) / len(asked) if asked else 0.0
    repeats = bool(content_words(first)) and content_words(first) <= set(asked)  # "They can't roar"
    if not repeats and restated < RESTATED:
        return None
    return patterns.NEGATION.search(first if repeats else " ".join(words(text))) is None
