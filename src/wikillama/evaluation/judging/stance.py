"""What an answer says of a candidate: that it is the answer, that it is not, or neither plainly.

Works on tokens in which the candidate is called KEY, other right parts ALSO and forbidden ones BAD
(`matching.replace`). English only, and by surface: a few dozen patterns (`patterns`), no grammar.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from wikillama.evaluation.judging import patterns
from wikillama.evaluation.judging.matching import CLAUSE, QUESTION, SENTENCE, tokens
from wikillama.evaluation.judging.text import shared
from wikillama.evaluation.metrics import content_words

# affirmed and supposed ("I think") are answers; hedged, offered (as one of several) and asked are not plain; compared
# is a mention that answers nothing ("larger than KEY"); negated is denied, and retracted first stated and then denied;
# torn is both
Kind = Literal[
    "affirmed", "supposed", "hedged", "offered", "asked", "compared", "negated", "retracted", "torn", "absent"
]
_STATED: tuple[Kind, ...] = ("affirmed", "supposed")


@dataclass(frozen=True, slots=True)
class Stance:
    """`clause` is where the answer says so, in normalized words."""

    kind: Kind
    clause: str

    @property
    def stated(self) -> bool:
        return self.kind in _STATED

    @property
    def denied(self) -> bool:
        return self.kind in ("negated", "retracted")


def stance(
    answer: Sequence[str], asked: Collection[str], rivals: Collection[str] = (), explains: bool = False
) -> Stance:
    """The stance of a whole answer towards KEY.

    `asked` are the content words of the question. `rivals` are names and numbers of the answer that could be other
    candidates. In an answer that `explains`, KEY is a word that a right explanation uses: one plain use will do, and
    alternatives are part of the explanation.
    """
    text = _prepared(answer)
    if "KEY" not in text.split():
        return Stance("absent", "")
    said: list[Stance] = []
    for sentence in re.findall(rf"[^{SENTENCE}{QUESTION}]+[{SENTENCE}{QUESTION}]?", text):
        bare = sentence.strip(f" {SENTENCE}{QUESTION}")
        question = sentence.endswith(QUESTION) and not patterns.RHETORICAL.search(bare)
        said += _in_sentence(bare, question, asked, rivals)
    if explains:
        said = [Stance("affirmed", s.clause) if s.kind == "offered" else s for s in said]
        return next((s for s in said if s.stated), None) or _overall(said, text)
    return _overall(said, text)


def is_doubtful(answer: str) -> bool:
    """Whether the text hedges or says that its author is unsure of it."""
    text = _prepared(tokens(answer))
    return patterns.HEDGE.search(text) is not None or "UNSURE" in text.split()


def _prepared(answer: Sequence[str]) -> str:
    text = patterns.UNSURE.sub("UNSURE", patterns.HARMLESS.sub("", " ".join(answer)))
    return " ".join(patterns.UNSURE_OF_ELSE.sub("", patterns.BUT_KNOWS.sub("", text)).split())


def _in_sentence(sentence: str, question: bool, asked: Collection[str], rivals: Collection[str]) -> list[Stance]:
    marked = patterns.OPENER.sub(f" {CLAUSE} ", sentence)
    clauses = [clause.strip() for clause in marked.split(CLAUSE) if clause.strip()]
    said = []
    for place, clause in enumerate(clauses):
        if "KEY" in clause.split():
            kind = _in_clause(clause, asked)
            around = [c for c in clauses[max(place - 1, 0) : place + 2] if c == clause or _only_hedges(c)]
            if kind == "affirmed":
                if _offered(sentence) or _listed(sentence, rivals):
                    kind = "offered"
                elif any(_hedges(c) for c in around):
                    kind = "hedged"
                elif question:
                    kind = "asked"
                elif patterns.SUPPOSING.search(sentence):
                    kind = "supposed"
            said.append(Stance(kind, clause))
    return said


def _in_clause(clause: str, asked: Collection[str]) -> Kind:
    if patterns.EXCLUDED.search(clause):
        return "negated"
    if patterns.COMPARED.search(clause):
        return "compared"
    if patterns.DENIED_BEFORE.search(clause) and "until" not in clause.split():
        of_key = re.search(r"\bKEY s \w", clause)  # "not KEY's first": something of KEY's is denied
        return "compared" if of_key or patterns.OWN_EXPERIENCE.search(clause) else "negated"
    if patterns.CALLED_WRONG.search(clause):
        return "negated"
    after = patterns.DENIED_AFTER.search(clause)
    if after is None:
        return "affirmed"
    # for "Who painted it?", "KEY did not paint it" denies KEY, "KEY never sold it" says nothing
    denied = sorted(content_words(after["rest"]) - {"right", "correct", "answer"})
    return "negated" if 2 * sum(shared(denied, asked)) > len(denied) or not denied else "compared"


def _hedges(clause: str) -> bool:
    """Whether doubt stands before KEY, right after it, or at the end of its clause."""
    before, _, after = clause.partition("KEY")
    near = " ".join(after.split()[:3])
    return any((patterns.HEDGE.search(before), patterns.HEDGE.search(near), patterns.HEDGE_AT_END.search(after)))


def _only_hedges(clause: str) -> bool:
    rest = patterns.HEDGE.sub("", clause)
    return rest != clause and not rest.split()


def _offered(sentence: str) -> bool:
    return patterns.OFFERED.search(sentence) is not None and not patterns.KEY_OR_KEY.search(sentence)


def _listed(sentence: str, rivals: Collection[str]) -> bool:
    """Whether KEY stands in a list with rivals: "KEY and Monet", "Monet, KEY, Manet, Degas"."""
    after, before = re.search(r"\bKEY and (\S+)", sentence), re.search(r"(\S+) and KEY\b", sentence)
    if (after and after[1] in rivals) or (before and before[1] in rivals):
        return True
    items = [item.split() for item in re.split(rf"{CLAUSE}|\band\b|\bor\b", sentence)]
    bare = [item for item in items if 0 < len(item) <= 3 and all(word in rivals for word in item)]
    joined = re.search(r"\b(?:and|or)\b", sentence) is not None
    return any(item[-1:] == ["KEY"] for item in items) and len(bare) >= (2 if joined else 3)


def _overall(said: list[Stance], text: str) -> Stance:
    """The last word counts, unless it answers nothing; doubt counts wherever it stands."""
    plain = [s for s in said if s.kind not in ("asked", "compared")] or said
    last = plain[-1]
    if last.kind == "negated" and any(s.stated for s in plain):
        return Stance("retracted", last.clause)
    if last.stated:
        rest = text[text.rindex("KEY") + len("KEY") :]
        if patterns.TAKES_BACK.search(rest):
            return Stance("retracted", last.clause)
        contrary = any(s.kind == "negated" for s in plain) and not patterns.CORRECTS_ITSELF.search(text)
        if contrary or patterns.MAY_TAKE_BACK.search(rest):
            return Stance("torn", last.clause)
        if "UNSURE" in text.split():
            return Stance("hedged", last.clause)
    return last
