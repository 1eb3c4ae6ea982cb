"""Is a reply supported by its knowledge? A score from words alone, for triage.

    score = (exp(-u / sqrt(n)) + c) / 2

n is the number of words of the reply and u how many of them the knowledge lacks, so the first half asks for a reply
that is wholly made of its knowledge. c is the share of the reply's claim words that the knowledge has; claim words are
content words other than the small talk of any conversation ("I think that's great"), and words with a digit count
twice. So the second half lets small talk pass and asks for what is claimed. Each word of the knowledge supports one
word only, and forms of a word support each other (`text.shared`). Nothing is fitted: the halves weigh the same.

AUC against human labels, "attributable" or the like against all else:

    BEGIN-dev WoW .948        FaithDial audit: human .846, GPT2 .935, DoHA .837, CTRL .909
    BEGIN-dev Topical-Chat .938        Alexa crowd: gold knowledge .677, KNN .755, DPR .657
    Q2 dodeca .708        DialFact, 300 claims .777        USR Topical-Chat, rating above one half .650

How it was chosen: 147 forms (share or count of lacking words, weights of the halves and of numbers) on these six
families. The best form on five of them scores on the sixth: BEGIN .920, FaithDial .867, Q2 .718, Alexa .697, DialFact
.792, USR .643. This one, with equal halves, has .943, .882, .708, .696, .777 and .650; its mean is .005 below that of
the best form. The list of small talk was first written after reading Q2's replies; without it, BEGIN-dev WoW has .956
and Q2 .668. Words of the history do not count as support: that made nearly every set worse. Recall, KF1, bigrams,
names, unseen numbers and negations, added one by one, changed the mean by less than .004.

Where it is weak, plainly: it reads words, not meaning. It cannot see that words of the knowledge were put together
wrongly (a swapped role, the wrong member of a list), nor a negation, nor that a paraphrase without shared words is
right. It tells copying from inventing, which is what BEGIN's weak generators do. On fluent systems that rephrase, such
as Q2's and Alexa's, it orders three pairs in ten wrongly: there it must not decide alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wikillama.errors import InputError
from wikillama.evaluation.judging.text import shared, words
from wikillama.evaluation.judging.verdict import Verdict
from wikillama.evaluation.metrics import content_words

CORRECT_FROM, WRONG_BELOW = 0.6, 0.4  # of the score; a person has to look at what lies between

# Open-class words that carry a conversation rather than a claim: verbs of thinking and talking, taste, praise,
# reactions, and placeholders.
_CONVERSATION = """
know knew known think thought thinking guess believe wonder remember suppose feel felt hope wish mean say said says
tell told talk talking hear heard ask read see seen saw watch look looking like likes liked love loves loved enjoy
enjoyed hate prefer want wanted need try tried get got go going went come let make great good nice cool fun awesome
amazing wonderful fantastic excellent interesting interested fascinating beautiful favorite favourite best better bad
big huge fan pretty sure true right agree maybe perhaps probably definitely certainly actually indeed personally
honestly basically especially sorry welcome wow haha lol thing things lot lots bit kind sort way people time
"""
_SMALL_TALK = frozenset(_CONVERSATION.split())


@dataclass(frozen=True, slots=True)
class Grounding:
    """`score` in 0..1; the claim words that the knowledge lacks, and those of them new to the conversation as well."""

    score: float
    unsupported: tuple[str, ...]
    novel: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroundednessJudge:
    """Judges a reply by its grounding, with "ambiguous" for the middle of the scale."""

    name: str = "groundedness-words-1"

    def judge_reply(self, history: Sequence[str], knowledge: Sequence[str], reply: str) -> Verdict:
        """ "correct" means supported by the knowledge; a reply that was given no knowledge is left to a person."""
        if not any(sentence.strip() for sentence in knowledge):
            return Verdict("ambiguous", 0.5, "no knowledge: nothing to check the reply against")
        found = ground(reply, knowledge, history)
        evidence = (
            f"unsupported: {', '.join(found.unsupported) or 'nothing'}; new: {', '.join(found.novel) or 'nothing'}"
        )
        if found.score >= CORRECT_FROM:
            return Verdict("correct", found.score, evidence)
        return Verdict("wrong" if found.score < WRONG_BELOW else "ambiguous", found.score, evidence)


def ground(reply: str, knowledge: Sequence[str] | str, history: Sequence[str] = ()) -> Grounding:
    """How far the knowledge supports the reply; 0 for an empty reply and for one without knowledge.

    The history does not change the score: it only tells which unsupported words are new.
    """
    said, given = words(reply), words(_text(knowledge))
    claims, facts = _claims(reply, said), _claims(_text(knowledge), given)
    found = shared(claims, facts)
    unsupported = tuple(dict.fromkeys(word for word, known in zip(claims, found, strict=True) if not known))
    before = set(words(" ".join(history)))
    score = _score(said, given, claims, found)
    return Grounding(score, unsupported, tuple(word for word in unsupported if word not in before))


def groundedness(replies: Sequence[str], knowledge: Sequence[Sequence[str] | str]) -> list[float]:
    """The score of each reply against its own knowledge, some 3,000 a second.

    Raises InputError unless there is one piece of knowledge a reply.
    """
    if len(replies) != len(knowledge):
        raise InputError(f"{len(replies)} replies but {len(knowledge)} pieces of knowledge: give each reply its own")
    return [ground(reply, facts).score for reply, facts in zip(replies, knowledge, strict=True)]


def _score(said: list[str], given: list[str], claims: list[str], found: list[bool]) -> float:
    if not said or not given:
        return 0.0
    lacking = len(said) - sum(shared(said, given))
    weights = [2 if any(c.isdigit() for c in word) else 1 for word in claims]
    supported = sum(weight for weight, known in zip(weights, found, strict=True) if known)
    share = supported / sum(weights) if claims else 0.0
    return (math.exp(-lacking / math.sqrt(len(said))) + share) / 2


def _claims(text: str, said: list[str]) -> list[str]:
    content = content_words(" ".join(said)) - _SMALL_TALK
    return [word for word in said if word in content]


def _text(knowledge: Sequence[str] | str) -> str:
    return knowledge if isinstance(knowledge, str) else " ".join(knowledge)
