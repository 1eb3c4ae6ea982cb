"""Systems that different runs scored, compared on what they have in common, with a remark wherever that is less than
everything: other questions, other knowledge, another judge."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from wikillama.evaluation.matrices import LABELS
from wikillama.evaluation.paired_metrics import MetricPair, compare_turns, estimates, turn_key
from wikillama.evaluation.pairwise import Pair, compare_pairs
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Answer, Prediction
from wikillama.evaluation.statistics import wilson

_NAMED = 3  # pairs that a remark names one by one


@dataclass(frozen=True, slots=True)
class Candidate:
    """A system as a run scored it on one suite. `knowledge` and `judge` are empty where the run does not say."""

    name: str
    knowledge: str
    judge: str
    answers: tuple[Answer, ...] = ()
    predictions: tuple[Prediction, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """Answers of a candidate by label, and the share of correct ones with Wilson's interval."""

    correct: int
    wrong: int
    ambiguous: int
    share: Estimate


@dataclass(frozen=True, slots=True)
class SuiteComparison:
    """A suite under all candidates that were scored on it. `pairs` are over questions, `metric_pairs` over turns."""

    suite: str
    counted: Mapping[str, Counted]  # by candidate, as the next two
    metrics: Mapping[str, Mapping[str, Estimate]]
    answers: Mapping[str, tuple[Answer, ...]]
    pairs: tuple[Pair, ...]
    metric_pairs: tuple[MetricPair, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate beside its run. `costs` by what they are of, in words; `facts` are what should be alike."""

    name: str
    run: str
    run_id: str
    status: str
    started: float | None
    seconds: float | None
    costs: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunComparison:
    """All that is known of runs beside each other. `params` holds what differs alone, a value a run, empty where
    a run has none."""

    rows: tuple[Row, ...]
    params: Mapping[str, Sequence[str]]
    suites: tuple[SuiteComparison, ...]
    remarks: tuple[str, ...]
    resamples: int

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.run for row in self.rows))

    @property
    def shared_params(self) -> dict[str, Sequence[str]]:
        """Params that all runs have; the others are of other entry scripts or versions."""
        return {name: values for name, values in self.params.items() if "" not in values}

    @property
    def all_remarks(self) -> tuple[str, ...]:
        """Those on the runs, then those on each suite."""
        return (*self.remarks, *(f"{suite.suite}: {said}" for suite in self.suites for said in suite.remarks))


def compare_suite(suite: str, candidates: Sequence[Candidate], resamples: int = 10_000) -> SuiteComparison:
    """Every two candidates on the questions or turns that both were given, word for word.

    Labels are compared within one judge. What candidates did not share, or saw differently, is said in remarks.
    """
    candidates = _numbered(candidates)
    judged = [c for c in candidates if c.answers]
    topics = {answer.id: answer.topic for c in judged for answer in c.answers}
    pairs: list[Pair] = []
    for judge in dict.fromkeys(c.judge for c in judged):
        alike = {c.name: {a.id: a.label for a in c.answers} for c in judged if c.judge == judge}
        pairs += compare_pairs(alike, topics)
    replied = {c.name: c.predictions for c in candidates if c.predictions}
    return SuiteComparison(
        suite=suite,
        counted={c.name: _counted(c.answers) for c in judged},
        metrics={name: estimates(predictions, resamples) for name, predictions in replied.items()},
        answers={c.name: c.answers for c in judged},
        pairs=tuple(pairs),
        metric_pairs=compare_turns(replied, resamples),
        remarks=tuple(_remarks(candidates)),
    )


def run_remarks(rows: Sequence[Row]) -> tuple[str, ...]:
    """What makes runs less comparable whatever they were scored on."""
    said = [f"{row.name} is {row.status}: its figures may be incomplete." for row in rows if row.status != "FINISHED"]
    for fact, follows in (
        ("training data", "differences are of the data as well."),
        ("base weights", "differences are of the base as well."),
        ("hardware", "seconds, memory and tokens a second are not comparable."),
        ("commit", "what the code did may differ."),
    ):
        said += _unlike(fact.capitalize(), {row.name: row.facts.get(fact, "") for row in rows}, follows)
    return tuple(said)


def _numbered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Answers to one question carry one id, and two questions that share an id by accident two."""
    names: dict[tuple[str, str, str], str] = {}
    versions: Counter[str] = Counter()
    for answer in (answer for c in candidates for answer in c.answers):
        key = (answer.id, answer.question, answer.reference)
        if key not in names:
            versions[answer.id] += 1
            names[key] = answer.id if versions[answer.id] == 1 else f"{answer.id} ({versions[answer.id]})"
    return [
        replace(c, answers=tuple(replace(a, id=names[a.id, a.question, a.reference]) for a in c.answers))
        for c in candidates
    ]


def _counted(answers: Sequence[Answer]) -> Counted:
    labels = Counter(answer.label for answer in answers)
    correct, wrong, ambiguous = (labels[label] for label in LABELS)
    return Counted(correct, wrong, ambiguous, wilson(correct, len(answers)))


def _remarks(candidates: Sequence[Candidate]) -> Iterable[str]:
    judges = {c.name: c.judge for c in candidates if c.answers}
    yield from _unlike("Judge", judges, "labels of different judges are not compared.")
    modes = {c.name: c.knowledge for c in candidates}
    yield from _unlike("Knowledge", modes, "differences are of the knowledge as well as of the systems.")
    for noun, seen in (("question", _questions), ("turn", _turns)):
        given = {c.name: seen(c) for c in candidates if seen(c)}
        sizes = {name: f"{len(items)} {noun}s" for name, items in given.items()}
        if len({frozenset(items) for items in given.values()}) > 1:
            yield f"Not all were given the same {noun}s: {_groups(sizes)}; two are compared on what both were given."
        yield from _of_pairs(given, lambda a, b: not a.keys() & b.keys(), f"have no {noun} in common: not compared")
        yield from _of_pairs(
            {name: items for name, items in given.items() if modes[name]},
            lambda a, b: any(a[key] != b[key] for key in a.keys() & b.keys()),
            f"saw other knowledge with the same {noun}s, though in the same mode",
            lambda first, second: modes[first] == modes[second],
        )
    tokens = {c.name: {turn_key(p): p.tokens for p in c.predictions if p.tokens} for c in candidates if c.predictions}
    if old := [name for name, counts in tokens.items() if not counts]:
        yield f"No loss a turn is kept of {', '.join(old)}: perplexity is not tested."
    yield from _of_pairs(
        tokens,
        lambda a, b: any(a[key] != b[key] for key in a.keys() & b.keys()),
        "cut replies into other tokens: perplexity is not compared, bits per byte are",
    )


_Items = Mapping[tuple[object, ...], object]


def _questions(candidate: Candidate) -> _Items:
    return {(answer.id,): tuple(answer.knowledge) for answer in candidate.answers}


def _turns(candidate: Candidate) -> _Items:
    return {turn_key(turn): tuple(turn.knowledge) for turn in candidate.predictions}


def _of_pairs(
    items: Mapping[str, _Items],
    holds: Callable[[_Items, _Items], bool],
    what: str,
    asked: Callable[[str, str], bool] = lambda first, second: True,
) -> Iterable[str]:
    """One remark on all pairs of which something holds."""
    found = [(a, b) for a, b in combinations(items, 2) if asked(a, b) and holds(items[a], items[b])]
    if not found:
        return
    named = "; ".join(f"{a} and {b}" for a, b in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more pairs" if len(found) > _NAMED else ""
    yield f"{named}{more} {what}."


def _unlike(what: str, values: Mapping[str, str], follows: str) -> list[str]:
    """A remark where values that are known differ."""
    known = {name: value for name, value in values.items() if value}
    return [f"{what} differs: {_groups(known)}; {follows}"] if len(set(known.values())) > 1 else []


def _groups(values: Mapping[str, str]) -> str:
    """`gold (a, b), none (c)`."""
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    return ", ".join(f"{value} ({', '.join(named)})" for value, named in names.items())
