"""How far the judge agrees with people, and people with each other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from wikillama.errors import InputError
from wikillama.evaluation.matrices import Agreement, agreement
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Evaluation
from wikillama.evaluation.statistics import krippendorff_alpha, rogan_gladen, wilson

NAN = float("nan")
PEOPLE = "people"  # how the name of a judge begins whose labels are people's own


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """The judge beside people, on those answers of `system` that people labelled ("all systems": of all together).

    `sensitivity` and `specificity` are of the label "correct". `corrected` is the accuracy behind the judge's
    `apparent` accuracy over all answers (Rogan and Gladen 1978); nan where people's labels do not allow it.
    """

    system: str
    agreement: Agreement
    human: Estimate  # accuracy by people's labels
    sensitivity: float
    specificity: float
    apparent: float
    corrected: float


@dataclass(frozen=True, slots=True)
class Annotators:
    """Every two annotators who labelled some answers both, and Krippendorff's alpha of all; None for no overlap."""

    pairs: tuple[Agreement, ...]
    alpha: Estimate | None


def check_judge(evaluation: Evaluation) -> tuple[JudgeCheck, ...]:
    """The judge against people for each system with human labels, then for all of them if there are several.

    Human labels of other systems or questions than the evaluation's are left out.
    """
    human: dict[str, str] = {}
    judge: dict[str, str] = {}
    checks: list[JudgeCheck] = []
    apparent: list[bool] = []
    for system in evaluation.systems:
        judged = system.labels
        given = {item: label for item, label in evaluation.human.get(system.name, {}).items() if item in judged}
        if not given:
            continue
        right = [label == "correct" for label in judged.values()]
        checks.append(_check(system.name, given, {item: judged[item] for item in given}, right))
        human |= {f"{system.name} {item}": label for item, label in given.items()}
        judge |= {f"{system.name} {item}": judged[item] for item in given}
        apparent += right
    if len(checks) > 1:
        checks.append(_check("all systems", human, judge, apparent))
    return tuple(checks)


def _check(system: str, human: Mapping[str, str], judge: Mapping[str, str], apparent: list[bool]) -> JudgeCheck:
    found = replace(agreement(human, judge), title=f"Judge against human labels: {system}")
    correct, others = found.counts[0], found.counts[1:]
    not_correct = sum(map(sum, others))
    sensitivity = correct[0] / sum(correct) if sum(correct) else NAN
    specificity = sum(sum(row[1:]) for row in others) / not_correct if not_correct else NAN
    share = sum(apparent) / len(apparent)
    try:
        corrected = rogan_gladen(share, sensitivity, specificity) if sum(correct) and not_correct else NAN
    except InputError:  # a judge no better than chance
        corrected = NAN
    people = wilson(sum(correct), found.n)
    return JudgeCheck(system, found, people, sensitivity, specificity, share, corrected)


def compare_annotators(annotators: Mapping[str, Mapping[str, str]]) -> Annotators:
    """Agreement of every two annotators on the answers that both labelled; the first of a pair gives the rows."""
    pairs = []
    for (name, labels), (other, others) in combinations(annotators.items(), 2):
        both = [item for item in labels if item in others]
        if both:
            first, second = ({item: given[item] for item in both} for given in (labels, others))
            pairs.append(agreement(first, second, name, other))
    if not pairs:
        return Annotators((), None)
    items = sorted({item for labels in annotators.values() for item in labels})
    return Annotators(
        tuple(pairs), krippendorff_alpha([[labels.get(i) for i in items] for labels in annotators.values()])
    )
