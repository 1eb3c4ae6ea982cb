"""The default judge of answers to questions: words and a few dozen patterns of English, no model.

It looks for the accepted wordings of a question in the text, and for what the text says of them (`stance`). It is meant
for triage: "ambiguous" means that the evidence conflicts and a person has to look.

Known to be weak, and tested as such: a right paraphrase that shares no accepted wording is called wrong ("the French
capital" for Paris), a demonym too ("Japanese" for Japan), and so is a misspelt name; a false statement about the right
answer is called correct ("Picasso sculpted it" where the question accepts Picasso). So list every accepted wording.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from wikillama.evaluation.judging import patterns
from wikillama.evaluation.judging.abstention import judge_unanswerable, refuses
from wikillama.evaluation.judging.matching import bare_tokens, replace, tokens
from wikillama.evaluation.judging.polarity import by_first_word, by_statement, is_bare
from wikillama.evaluation.judging.stance import Stance, stance
from wikillama.evaluation.judging.text import plain, shared, words
from wikillama.evaluation.judging.verdict import Verdict
from wikillama.evaluation.metrics import content_words
from wikillama.evaluation.questions import Question

RECALL, SOME_RECALL = 0.8, 0.5  # of a long reference's own words, to count as its paraphrase, or as near it


@dataclass(frozen=True, slots=True)
class LexicalJudge:
    """Judges an answer by accepted wordings, required parts, forbidden ones and the reference."""

    name: str = "lexical-1"

    def judge(self, question: Question, answer: str) -> Verdict:
        said = bare_tokens(answer)
        if not said:
            return Verdict("wrong", 0.0, "degenerate: no words")
        if _repeats(said):
            return Verdict("wrong", 0.05, "degenerate: the same words again and again")
        if not question.answerable:
            return judge_unanswerable(question, answer)
        if said == bare_tokens(question.question):
            return Verdict("wrong", 0.05, "echo: the question again")
        if question.answer_type == "yes_no":
            return _judge_yes_no(question, answer)
        return _by_wordings(question, answer) or _without_accepted(question, answer)


def parts(question: Question) -> list[list[str]]:
    """Groups of wordings of which each needs one: the required parts, or else all that is accepted as one group.

    Where one part is required, aliases are further wordings of it. A bare yes or no is none: it stands in many texts.
    """
    required = [list(group) for group in question.must_include if group]
    if not required:
        required = [[question.reference, *question.aliases]]
    elif len(required) == 1:
        required = [[*required[0], *question.aliases]]
    if question.answer_type == "yes_no":
        spelled = [[wording for wording in group if not is_bare(wording)] for group in required]
        required = [group for group in spelled if group] or [[]]
    return required


def _judge_yes_no(question: Question, answer: str) -> Verdict:
    found = by_first_word(question, answer) or _by_wordings(question, answer) or by_statement(question, answer)
    if found:
        return found
    if refuses(answer):
        return Verdict("wrong", 0.05, "refusal: of a question that can be answered")
    own = content_words(question.reference) - content_words(question.question)
    if any(shared(sorted(own), content_words(answer))):
        return Verdict("ambiguous", 0.5, "unclear: neither yes nor no, but words of the reference")
    return Verdict("wrong", 0.15, "unclear: neither yes nor no")


def _by_wordings(question: Question, answer: str) -> Verdict | None:
    """By accepted and forbidden wordings; None where there is none of them."""
    groups = parts(question)
    found = [_stance_to(question, answer, groups, place) for place in range(len(groups))]
    forbidden = _forbidden(question, answer, groups)
    where = _shown(next((s.clause for s in found if s.clause), ""))
    denied = next((s for s in found if s.denied), None)
    if denied:
        return Verdict("wrong", 0.1, f"{denied.kind}: {_shown(denied.clause)}")
    if all(s.stated for s in found):
        if forbidden.stated:
            return Verdict(
                "ambiguous", 0.4, f"forbidden: beside what is accepted, {_shown(forbidden.clause, 'forbidden')}"
            )
        if _compares_otherwise(question, answer):
            return Verdict("ambiguous", 0.5, f"comparison: in another word than the question's, {where}")
        return Verdict("correct", 0.8 if any(s.kind == "supposed" for s in found) else 0.95, f"accepted: {where}")
    if forbidden.stated and any(s.kind == "absent" for s in found):
        return Verdict("wrong", 0.05, f"forbidden: {_shown(forbidden.clause, 'forbidden')}")
    if where:
        unclear = next((s for s in found if s.clause and not s.stated), None)
        evidence = f"{unclear.kind}: {_shown(unclear.clause)}" if unclear else f"partial: only {where}"
        return Verdict("ambiguous", 0.5, evidence)
    return None


def _shown(clause: str, what: str = "accepted") -> str:
    return re.sub(r"\bKEY\b", f"<{what}>", clause)


def _stance_to(question: Question, answer: str, groups: Sequence[Sequence[str]], place: int) -> Stance:
    others = [key for other, group in enumerate(groups) if other != place for key in group]
    # forbidden wordings first: one may contain an accepted one
    marked = replace(answer, {"BAD": _forbidden_wordings(question), "KEY": groups[place], "ALSO": others})
    explains = question.answer_type == "explanation"
    return stance(marked, content_words(question.question), _rivals(question, answer), explains)


def _forbidden(question: Question, answer: str, groups: Sequence[Sequence[str]]) -> Stance:
    allowed = [key for group in groups for key in group]
    marked = replace(answer, {"KEY": _forbidden_wordings(question), "ALSO": allowed})
    return stance(marked, content_words(question.question))


def _forbidden_wordings(question: Question) -> list[str]:
    """Without a bare yes or no, on which the first word of the answer decides."""
    return [wording for wording in question.must_not_include if not is_bare(wording)]


def _rivals(question: Question, answer: str) -> set[str]:
    """Names and numbers of the answer that neither the question has nor what is known of its answer."""
    facts = [fact.sentence for fact in question.knowledge if fact.gold]
    known = set(tokens(" ".join([question.question, question.reference, *question.aliases, *facts])))
    named = {word for name in re.findall(r"(?<!\w)[A-Z]\w*", plain(answer)) for word in words(name)}
    numbers = {token for token in tokens(answer) if token[0].isdigit()}
    return (named & content_words(answer) | numbers) - known


def _compares_otherwise(question: Question, answer: str) -> bool:
    """Whether the question asks for one of two, and the answer compares with another word ("smaller", not "larger")."""
    asked = set(re.findall(r"\b(?:more|less|[a-z]{2,}er)\b", question.question))  # lower case: not "Jupiter"
    said = set(words(answer))
    return " or " in question.question and bool(asked) and "than" in said and not asked & said


def _without_accepted(question: Question, answer: str) -> Verdict:
    """No accepted wording occurs: a refusal, another reading, a paraphrase of the reference, an echo, or wrong."""
    if refuses(answer):
        return Verdict("wrong", 0.05, "refusal: of a question that can be answered")
    if question.ambiguity and _reads_otherwise(question.ambiguity, question, answer):
        return Verdict("ambiguous", 0.5, f"reading: {question.ambiguity}")
    return _paraphrase(question, answer) or (
        Verdict("wrong", 0.1, "absent: none of the accepted wordings")
        if content_words(answer) - content_words(question.question)
        else Verdict("wrong", 0.05, "echo: nothing that the question does not say")
    )


def _reads_otherwise(readings: str, question: Question, answer: str) -> bool:
    """Whether the answer has a name or number, or two other words, that only the text of the other readings has."""
    known = set(tokens(question.question)) | set(tokens(question.reference))
    own = {w for w in tokens(readings) if w in content_words(" ".join(tokens(readings)))} - known
    both = own & set(tokens(answer))
    names = {word for name in re.findall(r"(?<=[a-z,] )[A-Z]\w*", plain(readings)) for word in words(name)}
    return len(both) > 1 or any(word in names or word[0].isdigit() for word in both)


def _paraphrase(question: Question, answer: str) -> Verdict | None:
    """By how many words of the reference occur that the question does not have; None for few.

    Its numbers all have to. Where wordings are required, only an explanation or a list can do without them, and then
    only so far that a person has to look. A reference of two such words is a name, whose last may stand alone.
    """
    if question.must_include and question.answer_type not in ("explanation", "list"):
        return None
    content, asked = content_words(" ".join(tokens(question.reference))), set(tokens(question.question))
    own = [w for w in bare_tokens(question.reference) if w in content and w not in asked]
    said = bare_tokens(answer)
    if len(own) < 2 or any(word[0].isdigit() and word not in said for word in own):
        return None
    if len(own) == 2:
        return Verdict("ambiguous", 0.45, f"near: {own[1]}") if own[1] in said else None
    recall = sum(shared(own, said)) / len(own)
    evidence = f"{recall:.0%} of the reference's own words"
    both = [patterns.NEGATION.search(" ".join(words(text))) is None for text in (question.reference, answer)]
    if recall >= RECALL and both[0] == both[1] and not question.must_include:
        return Verdict("correct", 0.75, f"paraphrase: {evidence}")
    return Verdict("ambiguous", 0.45, f"near: {evidence}") if recall >= SOME_RECALL else None


def _repeats(said: Sequence[str]) -> bool:
    """Whether most of a text is one phrase over and over (four times a word, three times a phrase)."""
    for period in range(1, min(12, len(said) // 3) + 1):
        run = longest = 0
        for place in range(period, len(said)):
            run = run + 1 if said[place] == said[place - period] else 0
            longest = max(longest, run)
        times = 4 if period == 1 else 3
        if longest >= (times - 1) * period and longest + period > len(said) / 2:
            return True
    return len(said) >= 24 and len(set(pairwise(said))) < 0.4 * len(said)
