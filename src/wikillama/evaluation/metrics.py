"""Metrics of one reply, and of how varied replies are.

The F1 family and BLEU are exactly ParlAI's: parlai/core/metrics.py (`normalize_answer`, `F1Metric`, `BleuMetric`,
`InterDistinctMetric`, `IntraDistinctMetric`) and parlai/tasks/wizard_of_wikipedia/agents.py (knowledge F1, rare-word
F1), facebookresearch/ParlAI at a29567f7, MIT. ParlAI replaces punctuation by a space where SQuAD's script deletes it,
and scores empty against empty as 0: figures of the two are not comparable. All scores are proportions in 0..1.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from nltk.stem.porter import PorterStemmer
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from wikillama.data.wow import NO_KNOWLEDGE
from wikillama.errors import InputError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\]\\^`{|}~_']")  # ASCII only, as there
_SMOOTHING = SmoothingFunction(epsilon=1e-12).method1

# English words of closed classes, and what is left of contractions once their apostrophe is a space: "don t", "we ll"
_CLOSED_CLASSES = """
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself we us our
ours ourselves they them their theirs themselves one ones someone somebody something anyone anybody anything everyone
everybody everything nobody nothing none who whom whose which what whatever that this these those am is are was were be
been being do does did doing done have has had having will would shall should can could may might must ought isn aren
wasn weren don doesn didn haven hasn hadn wouldn shan shouldn couldn mustn ain cannot s t d m o y ll re ve not no nor
and or but so yet if then else than because as while although though unless until since whether of in on at by for with
about against between into onto through during before after above below to from up down out off over under within
without upon among across toward towards around per via again further once here there where when why how all any both
each every few many more most much other others another some several such own same only too very also just even ever
never always often quite rather really still already almost yes yeah yep ok okay oh well hi hello hey thanks please
"""
_FUNCTION_WORDS = frozenset(_CLOSED_CLASSES.split())


class PrecRecF1(NamedTuple):
    precision: float
    recall: float
    f1: float


def normalize_answer(text: str) -> str:
    """Lower case, punctuation and articles replaced by spaces, white space squeezed."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub(" ", text.lower())).split())


def prec_rec_f1(guess: str, reference: str) -> PrecRecF1:
    """Precision, recall and F1 over the multisets of normalized words; zeros where nothing is shared."""
    guessed, expected = normalize_answer(guess).split(), normalize_answer(reference).split()
    same = sum((Counter(guessed) & Counter(expected)).values())
    if same == 0:
        return PrecRecF1(0.0, 0.0, 0.0)
    precision, recall = same / len(guessed), same / len(expected)
    return PrecRecF1(precision, recall, 2 * precision * recall / (precision + recall))


def best_prec_rec_f1(guess: str, references: Sequence[str]) -> PrecRecF1:
    """The best precision, recall and F1 over the references, each by itself: they may come from different ones."""
    return PrecRecF1(*map(max, zip(*(prec_rec_f1(guess, reference) for reference in references), strict=True)))


def f1(guess: str, references: Sequence[str]) -> float:
    """The best F1 over the references."""
    return best_prec_rec_f1(guess, references).f1


def knowledge_overlap(reply: str, knowledge: Sequence[str] | None) -> PrecRecF1 | None:
    """Overlap of a reply with its turn's knowledge sentences, taken as one text; None where the turn has none.

    Precision is the share of the reply that the knowledge holds, recall the share of the knowledge that the reply
    uses, F1 the knowledge F1 over knowledge turns only.
    """
    return prec_rec_f1(reply, " ".join(knowledge)) if knowledge else None


def knowledge_f1_parlai(reply: str, knowledge: Sequence[str] | None) -> float:
    """Knowledge F1 as ParlAI counts it: a turn without knowledge has the text "no_passages_used" as its knowledge."""
    return prec_rec_f1(reply, " ".join(knowledge or [NO_KNOWLEDGE])).f1


@dataclass(frozen=True, slots=True)
class RareWords:
    """How often each normalized word occurs in a corpus; a word is rare if it occurs less often than `cutoff`."""

    frequencies: Mapping[str, int]
    cutoff: int

    def filter(self, text: str, unseen: Literal["drop", "keep"]) -> str:
        """The rare words of a text, in their order; `unseen` says what becomes of words that the corpus lacks."""
        frequency_of_unseen = self.cutoff if unseen == "drop" else 0
        words = normalize_answer(text).split()
        return " ".join(word for word in words if self.frequencies.get(word, frequency_of_unseen) < self.cutoff)


def rare_words(corpus: Iterable[str]) -> RareWords:
    """Count a corpus. The cutoff is the frequency of the word at which the most frequent words pass half of all tokens.

    ParlAI counts both speakers of all splits, test included; the training split alone leaks nothing. Raises InputError
    for a corpus without a word.
    """
    frequencies = Counter(word for text in corpus for word in normalize_answer(text).split())
    passed, half = 0, frequencies.total() / 2
    for _, frequency in frequencies.most_common():
        passed += frequency
        if passed > half:
            return RareWords(frequencies, frequency)
    raise InputError("rare-word F1: the corpus holds no word; give it the training dialogues")


def rare_f1(
    reply: str, references: Sequence[str], rare: RareWords, unseen: Literal["drop", "keep"] = "drop"
) -> float | None:
    """F1 over rare words; None where no reference has one, which ParlAI leaves out of the mean.

    ParlAI has two versions. Its main branch drops words that the corpus lacks (agents.py, `RareWordF1Calculator`);
    rare_f1.py of commit 874f3b7d, on a side branch, keeps them.
    """
    filtered = [rare.filter(reference, unseen) for reference in references]
    return f1(rare.filter(reply, unseen), filtered) if any(filtered) else None


def bleu4(reply: str, references: Sequence[str]) -> float:
    """BLEU-4 of one reply as ParlAI computes it: nltk's sentence BLEU of normalized words, method 1, epsilon 1e-12.

    One order of n-grams without a match takes it to almost 0, so its mean is far below a corpus BLEU.
    """
    # an empty text is one empty word, as there
    expected = [normalize_answer(reference).split(" ") for reference in references]
    return float(sentence_bleu(expected, normalize_answer(reply).split(" "), smoothing_function=_SMOOTHING))


class _Stems(Tokenizer):  # type: ignore[misc]
    """As rouge-score tokenizes and stems by itself, but each word is stemmed once: stemming takes most of the time."""

    def __init__(self) -> None:
        self._stem = lru_cache(maxsize=1 << 16)(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        return [self._stem(word) if len(word) > 3 else word for word in re.findall("[a-z0-9]+", text.lower())]


_ROUGE = RougeScorer(["rougeL"])
_ROUGE_OF_STEMS = RougeScorer(["rougeL"], tokenizer=_Stems())


def rouge_l(reply: str, references: Sequence[str]) -> float:
    """The best ROUGE-L F over the references, as the package rouge-score computes it: articles kept, no stemming."""
    return max(float(_ROUGE.score(reference, reply)["rougeL"].fmeasure) for reference in references)


def rouge_l_recall(reply: str, references: Sequence[str]) -> float:
    """The best ROUGE-L recall over the references on normalized, stemmed words: what ParlAI reports as rouge_L.

    ParlAI's package, py-rouge, looks irregular words up in WordNet before it stems. On the 3,865 replies that Few-Shot
    Bot's authors published (andreamad8/FSB) its mean is .1400 where this one is .1396.
    """
    guess = normalize_answer(reply)
    return max(float(_ROUGE_OF_STEMS.score(normalize_answer(r), guess)["rougeL"].recall) for r in references)


class Distinct(NamedTuple):
    intra: float  # mean over replies of distinct n-grams / n-grams; 0 for a reply shorter than n words
    inter: float  # the same ratio over all replies taken together; falls as replies are added


def distinct(replies: Sequence[str], n: int) -> Distinct:
    """Distinct-n of normalized words. Compare inter only between systems with equally many replies of like length."""
    everywhere: Counter[tuple[str, ...]] = Counter()
    ratios = []
    for reply in replies:
        words = normalize_answer(reply).split()
        here = Counter(zip(*(words[start:] for start in range(n)), strict=False))
        ratios.append(len(here) / here.total() if here else 0.0)
        everywhere.update(here)
    return Distinct(sum(ratios) / len(ratios), len(everywhere) / everywhere.total() if everywhere else 0.0)


def content_words(text: str) -> set[str]:
    """The different normalized words of a text that are no function words."""
    return set(normalize_answer(text).split()) - _FUNCTION_WORDS


def relevance(reply: str, context: Sequence[str]) -> float | None:
    """Share of a reply's content words that its context (history or knowledge) holds; None if that holds none.

    A reply without a content word scores 0. This is our own measure of keeping to the subject, not of quality: a copy
    of the context scores 1, and a good reply that brings in something new scores less.
    """
    given = content_words(" ".join(context))
    if not given:
        return None
    said = content_words(reply)
    return len(said & given) / len(said) if said else 0.0
