"""Phrases of English by which an answer hedges, negates, retracts or declines, on normalized words and marks.

Normalized means that "isn't" is "isn t" and articles are gone. KEY stands for a candidate answer (`matching.replace`).
The lists are common English, checked with the cases of test_lexical.py and not fitted to any system's answers.
"""

import re

from wikillama.evaluation.judging.matching import CLAUSE, QUESTION, SENTENCE

_END = f"[{CLAUSE}{SENTENCE}{QUESTION}]"
_IN_CLAUSE = f"[^{CLAUSE}]*"
_BE = "(?:is|was|are|were|would be|s)"
_VERB = "(?:is|was|are|were|did|does|do|has|had|have|would|could|can|will)"
_VERB_NT = "(?:is|was|are|were|did|does|do|has|had|have|would|could|ca|wo)n t"
_NOT = r"(?:not|\w*n t|never)"
_CANNOT = "(?:can not|cannot|can t|could not|couldn t|unable to|not able to|impossible to)"
_UNIT = (
    r"(?:degrees?|fahrenheit|celsius|kelvin|miles?|kilomet\w+|km|met\w+"
    r"|feet|foot|ft|inch\w*|cm|pounds?|lbs?|kilograms?|kg|f|c)\b"
)


def _any(text: str) -> re.Pattern[str]:
    """A pattern that matches any line of `text`, as whole words."""
    return re.compile(rf"\b(?:{'|'.join(line.strip() for line in text.strip().splitlines())})\b")


# Negations that deny nothing
HARMLESS = _any(rf"""
    {_NOT} (?:only|just|merely|simply|surprisingly|to mention|forget|agree more|wait|help)
    no (?:doubt|question|wonder|secret|surprise|matter|problem)
    (?:none|no one|nobody) other than
    nothing but
    why not
    if not
    whether or not
""")

# "I am not sure", and what one can be unsure of without doubting the answer: "not sure why", "don't know much about"
UNSURE = re.compile(
    _any(rf"""
    (?:not|isn t|m not|aren t) (?:\w+ )?(?:sure|certain|positive|confident)
    unsure
    uncertain
    no (?:idea|clue)
    (?:do not|don t|dont) (?:\w+ )?(?:know|remember|recall)
    {_CANNOT} (?:say|tell|remember|recall|be sure)
    (?:could|might|may) be (?:wrong|mistaken)
    (?:just |only |wild )?guessing
    """).pattern
    + "(?: for (?:sure|certain))?"
)
UNSURE_OF_ELSE = re.compile(
    "UNSURE (?:why|how|where|when|what|which|who|much|many|a lot|lot|any|anything|about (?!that|it|this))"
)
BUT_KNOWS = re.compile(rf"UNSURE[^{SENTENCE}{QUESTION}]*?\bbut i (?:do )?know\b")

HEDGE = _any(r"""
    maybe
    perhaps
    possibly
    presumably
    supposedly
    allegedly
    rumou?red
    might
    (?:could|may)(?: well)? (?:be|have)
    (?:some|many|most|people)(?: people)? (?:say|think|believe|claim)
    if i had to guess
    (?:my|best|wild) guess
""")
HEDGE_AT_END = re.compile(r"\b(?:maybe|perhaps|possibly|probably not)$")
SUPPOSING = _any("(?:think|believe|guess|suppose|probably|likely|seem|seems|if i (?:remember|recall))")

# Words that open a clause without a comma
OPENER = re.compile(
    " (?=(?:but|however|although|though|because|while|whereas|yet|instead|so|and (?:i|it|he|she|they|we))\\b)"
)

# A candidate denied: by what stands before it in its clause, by an exclusion right before it, by its own verb
DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|nor|neither|cannot|without|isnt|wasnt|arent|didnt|doesnt|doubt|false|untrue|incorrect|wrong"
    r"|myth|misconception|anything but|(?:is|was|are|were|has|have|had|with) no|used to (?:think|believe)"
    rf"|(?:once|wrongly|mistakenly) (?:thought|believed))\b|n t\b){_IN_CLAUSE}\bKEY\b"
)
EXCLUDED = re.compile(r"\b(?:rather than|instead of|other than|except(?: for)?|unlike|opposed to|not) (?:\w+ )?KEY\b")
DENIED_AFTER = re.compile(
    rf"\bKEY(?: s)? (?:\w+ )?(?:{_VERB} (?:\w+ )?(?:not|never)|{_VERB_NT}|never)\b(?P<rest>{_IN_CLAUSE})"
)
CALLED_WRONG = re.compile(rf"\bKEY {_BE} (?:\w+ )?(?:wrong|incorrect|false|untrue|myth|mistake)\b")
# "I've never been to KEY"
OWN_EXPERIENCE = re.compile(r"^(?:but |and |so )?(?:i|we)\b(?!.*\b(?:think|believe|say|doubt)\b)")

# "larger than KEY", "before KEY"
COMPARED = re.compile(r"\b(?:than|before|prior to) (?:\w+ ){0,2}KEY\b")
# "KEY or Monet", but not "KEY or so", "KEY or more", "KEY or 60 miles"
KEY_OR_KEY = re.compile(r"\bKEY\b.* or .*\bKEY\b")
OFFERED = re.compile(
    rf"\bKEY (?:{CLAUSE} )?or (?!KEY|ALSO|so\b|more|less|fewer|later|earlier|older|thereabouts|simply|just|as\b"
    rf"|\d\S* {_UNIT})|(?<!KEY )(?<!ALSO )\bor (?!rather)KEY\b|\beither KEY\b"
)
RHETORICAL = re.compile(r"^(?:well )?(?:so )?(?:did|do|didn t|don t)? ?you know\b")

# What takes back what was said, and what may
TAKES_BACK = re.compile(
    rf"(?:{_END}|\bbut) (?:oh |but |well |{CLAUSE} )*"
    + _any(rf"""
    wait
    scratch that
    correction
    i mean
    i meant
    or rather
    my mistake
    my bad
    on second thought
    (?:that|this|it|they) (?:s|is|was|are|re) (?:\w+ )?(?:wrong|incorrect|false|untrue|mistaken)
    (?:that|this|it|they) (?:s|is|was|are|re) not (?:right|correct|true)
    i (?:was|am|m) (?:wrong|mistaken)
    i made a mistake
    i take that back
    sorry (?:{CLAUSE} )?(?:i|it|no|that)
    (?:actually )?no (?:{CLAUSE} )?(?:it|that|he|she|actually|wait|sorry|not)
    actually (?:{CLAUSE} )?no
    """).pattern
)
MAY_TAKE_BACK = re.compile(rf"{_END} (?:but |well )?actually (?:{CLAUSE} )?(?:it|that|i think|i believe)\b")
CORRECTS_ITSELF = _any("(?:but|actually|wait|no|sorry|correction|rather|instead)")

# Declining to answer, and saying that there is nothing to answer
REFUSES = _any(rf"""
    (?:i|we) (?:\w+ )?(?:do not|don t|dont) (?:\w+ )?(?:know|remember|recall)
    (?:do not|don t|dont) have (?:\w+ ){{0,3}}(?:idea|clue|information|info|knowledge|answer|details|data)
    not (?:\w+ )?(?:sure|certain|aware|familiar)
    no (?:idea|clue)
    beats me
    unsure
    hard to say
    as an? ai
    as ai
    {_CANNOT} (?:\w+ )?(?:answer|say|tell|find|determine|provide|help|recall|remember|verify|confirm|know)
    (?:have|ve) (?:no (?:information|knowledge|record|way)|never heard)
""")
UNKNOWN = _any(rf"""
    (?:no one|nobody|none of us) (?:\w+ )?knows?
    unknown
    (?:not|isn t|never) (?:\w+ )?(?:known|recorded|documented|announced|disclosed|revealed|established|determined)
    {_CANNOT} (?:be )?(?:know|known|determine|determined|say|said|tell|answer|answered)
    (?:no|not enough|insufficient|lack of) (?:\w+ )?(?:records?|evidence|information|answer|consensus|data|details)
    (?:do|does|did)(?: not|n t) (?:say|mention|state|specify|exist|happen)
    (?:hasn t|has not) (?:\w+ )?(?:happened|taken place|occurred)
    not yet
    depends on
""")
PREMISE_IS_FALSE = _any(r"""
    (?:false )?premise
    (?:not|isn t) (?:\w+ )?(?:true|correct|accurate|real)
    misconception
    myth
    fictional
    hypothetical
    trick question
    there (?:is|was|are|were|has been|have been|s) (?:\w+ )?(?:no|never|not)
    there (?:isn|wasn|aren|weren|hasn|haven) t
    no such
    never (?:existed|happened|took place)
    mistaken
""")
NEGATION = re.compile(r"\b(?:not|never|no|nor|cannot|neither|nobody|no one|none|isnt|wasnt|arent|doesnt|didnt)\b|n t\b")
REASON = re.compile(r"\b(?:because|since|due to|so that|who|which)\b.*")
GUESS = _any("(?:it|he|she|they|that|think|believe|guess|probably|maybe)")
OFFERS_HELP = _any("(?:if you|let me|help|would be|can look|look it up|sorry)")

YES = re.compile(
    "(?:oh |well |um )?(?:yes|yeah|yep|yup|true|correct|indeed|absolutely|definitely|certainly"
    r"|that s (?:right|true|correct))\b"
)
# "They do", "It is not": the verb of the question alone
SHORT_ANSWER = re.compile(
    r"(?:it|they|he|she|there|we|you|i) (?:certainly |really |actually )?"
    rf"(?P<verb>{_VERB}|may|must|should|{_VERB_NT}) ?(?P<no>not|never)?"
)
NO = re.compile(
    "(?:oh |well |um |actually )?(?:no|nope|nah|false|incorrect|never|hardly|barely|not (?:really|at all|much)"
    r"|(?:definitely|certainly|absolutely) not|that s (?:not|false|wrong))\b"
)
