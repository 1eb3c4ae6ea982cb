"""What is computed over an evaluation: shares, tests, sentences, agreement with people."""

import math
from dataclasses import replace

import orjson
import pytest
from invented import NAMES, evaluation, like_the_study, measured, study_labels, system

from wikillama.errors import InputError
from wikillama.evaluation.comparison import Comparison, compare
from wikillama.evaluation.matrices import LABELS
from wikillama.evaluation.pairwise import Pair
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.statistics import mcnemar_exact
from wikillama.evaluation.study import TOPICS
from wikillama.evaluation.wording import MINUS, with_interval

TRANSITION = ((108, 13, 1), (36, 31, 1), (5, 4, 1))  # the margins are the study's, the cells are invented
HUMAN_BY_JUDGE = ((138, 9, 2), (11, 36, 1), (1, 1, 1))


def labelled(table: tuple[tuple[int, ...], ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Two labellings of the same questions, 20 a topic, with `table` as their cross table."""
    pairs = [(LABELS[r], LABELS[c]) for r in range(3) for c in range(3) for _ in range(table[r][c])]
    ids = [f"{TOPICS[place % 10]}-{place:03d}" for place in range(len(pairs))]
    first, second = ({item: pair[side] for item, pair in zip(ids, pairs, strict=True)} for side in (0, 1))
    return first, second


@pytest.fixture(scope="module")
def studied() -> Comparison:
    return compare(like_the_study())


@pytest.fixture(scope="module")
def moved() -> Pair:
    before, after = labelled(TRANSITION)
    (pair,) = compare(evaluation([system("base", before), system("qlora", after)])).pairs
    return pair


def test_the_studys_shares(studied: Comparison) -> None:
    for systems in (studied.systems, studied.reported):
        assert [(s.correct, s.wrong, s.ambiguous) for s in systems] == [(122, 68, 10), (152, 45, 3), (149, 48, 3)]
        strict, decided = ([with_interval(getattr(s, of)) for s in systems] for of in ("strict", "decided"))
        assert strict == [".610 [.541,.675]", ".760 [.696,.814]", ".745 [.680,.800]"]
        assert decided == [".642 [.572,.707]", ".772 [.708,.825]", ".756 [.692,.811]"]
        assert [s.lenient.value for s in systems] == [0.635, 0.7675, 0.7525]
        assert all(s.strict.value < s.lenient.value < s.decided.value for s in systems)
        assert all(s.strict.low < s.lenient.low < s.lenient.value < s.lenient.high for s in systems)
    assert [s.reported for s in (*studied.systems, *studied.reported)] == [False] * 3 + [True] * 3


def test_topics_come_in_the_studys_order_with_their_counts() -> None:
    turned = dict(reversed(study_labels(2).items()))
    found = compare(evaluation([system("qlora", turned)])).systems[0]
    assert [topic.topic for topic in found.topics] == list(TOPICS)
    assert [topic.correct for topic in found.topics] == [18, 12, 12, 12, 11, 13, 14, 20, 20, 17]
    assert with_interval(found.topics[6].share) == ".700 [.481,.855]"
    assert found.by_topic is not None
    assert found.by_topic.row_names == TOPICS
    assert [sum(row) for row in found.by_topic.counts] == [20] * 10


def test_a_pair_of_systems(moved: Pair) -> None:
    pair = moved
    assert (pair.first, pair.second, pair.transition.counts) == ("base", "qlora", TRANSITION)
    assert (pair.mcnemar.b, pair.mcnemar.c) == (41, 14)
    assert pair.mcnemar.p == pytest.approx(0.000355, abs=5e-7)
    assert pair.p_holm == pair.mcnemar.p
    assert (round(pair.stuart_maxwell.statistic, 4), round(pair.bowker.statistic, 4)) == (14.8436, 15.2626)
    assert pair.difference.value == pytest.approx(0.135)
    assert (pair.difference.low, pair.difference.high) == (
        pytest.approx(0.07, abs=0.01),
        pytest.approx(0.205, abs=0.01),
    )
    assert pair.words.startswith("qlora is better than base by 13.5 points [")
    assert pair.words.endswith("(exact McNemar p = .0004).")
    assert pair.warning is None


def test_topics_of_a_pair_are_corrected_for_being_ten(moved: Pair) -> None:
    before, after = labelled(TRANSITION)
    assert [topic.topic for topic in moved.topics] == list(TOPICS)
    for topic in moved.topics:
        inside = [item for item in before if item.startswith(topic.topic)]
        assert topic.n == len(inside) == 20
        assert topic.first == sum(before[item] == "correct" for item in inside)
        assert topic.second == sum(after[item] == "correct" for item in inside)
        assert topic.won == sum(before[item] != "correct" == after[item] for item in inside)
        assert topic.lost == sum(before[item] == "correct" != after[item] for item in inside)
        assert topic.p == mcnemar_exact(topic.won, topic.lost).p
    lowest = min(moved.topics, key=lambda topic: topic.p)
    assert lowest.p_holm == pytest.approx(min(1, 10 * lowest.p))


def test_every_pair_is_compared_and_corrected_for_the_others(studied: Comparison) -> None:
    found = studied
    assert [(p.first, p.second) for p in found.pairs] == [NAMES[:2], (NAMES[0], NAMES[2]), NAMES[1:]]
    better, also_better, same = found.pairs
    assert better.words.startswith("no-qlora is better than base by 15.0 points [")
    assert better.p_holm == pytest.approx(3 * better.mcnemar.p)
    assert also_better.p_holm == pytest.approx(2 * also_better.mcnemar.p)
    assert (same.mcnemar.b, same.mcnemar.c) == (0, 3)
    assert same.mcnemar.p == 0.25
    assert same.words.startswith(
        f"No detectable difference between qlora and no-qlora: {MINUS}1.5 points [{MINUS}3.5, 0.0]"
    )
    assert same.words.endswith("(exact McNemar p = .250 after Holm over 3 pairs).")


def test_a_loss_is_said_as_a_loss() -> None:
    before, after = labelled(TRANSITION)
    (pair,) = compare(evaluation([system("qlora", after), system("base", before)])).pairs
    assert pair.difference.value == pytest.approx(-0.135)
    assert pair.words.startswith("base is worse than qlora by 13.5 points [6.5, 20.5] (")


def test_what_the_studys_counts_allow_to_say(studied: Comparison) -> None:
    against_direct, against_qlora, qlora = studied.reported_pairs
    assert qlora.words == (
        "No detectable difference between fine-tuned with QLoRA and fine-tuned without QLoRA: 149 against 152 of 200 "
        "correct, and whichever answers these are, exact McNemar p = .250 or more."
    )
    assert against_qlora.words.startswith("fine-tuned with QLoRA is better than Llama 2 base: 149 against 122 of 200")
    assert against_qlora.words.endswith("p = .022 or less.")
    assert (qlora.pairings.lowest_p, round(against_direct.pairings.highest_p, 4)) == (0.25, 0.0095)
    sports = qlora.topics[6]
    assert (sports.topic, sports.first, sports.second, sports.won) == ("sports", 16, 14, None)
    assert sports.p == pytest.approx(0.7164, abs=5e-4)  # Fisher
    assert sports.p_holm == 1


def test_few_questions_carry_a_warning() -> None:
    first = {"cars-001": "correct", "cars-002": "wrong", "art-001": "ambiguous", "art-002": "wrong", "own-1": "correct"}
    second = dict.fromkeys(first, "ambiguous") | {"art-002": "correct"}
    found = compare(evaluation([system("base", first), system("qlora", second)]))
    assert found.pairs[0].words.startswith(f"No detectable difference between qlora and base: {MINUS}20.0 points [")
    assert (
        found.pairs[0].warning == "n=5: a share near one half is uncertain by 33 points either way; do not rank by it"
    )
    assert [topic.topic for topic in found.systems[0].topics] == ["cars", "art", "own"]
    assert (found.systems[1].decided.value, found.systems[1].lenient.value) == (1, 0.6)


def test_systems_that_are_right_on_the_same_questions() -> None:
    labels = study_labels(0)
    other = {item: "correct" if label == "correct" else "wrong" for item, label in labels.items()}
    (pair,) = compare(evaluation([system("a", labels), system("b", other)])).pairs
    assert pair.words == "No detectable difference between b and a: both are right on the same 122 of 200 questions."
    assert pair.mcnemar.p == 1
    assert pair.stuart_maxwell.p < 0.05  # ambiguous ones became wrong


def test_no_decided_answer_has_no_share() -> None:
    found = compare(evaluation([system("a", {"cars-001": "ambiguous"})])).systems[0]
    assert math.isnan(found.decided.value)
    assert found.lenient.value == 0.5


def test_judge_against_people() -> None:
    human, judge = labelled(HUMAN_BY_JUDGE)
    (check,) = compare(evaluation([system("qlora", judge)], {"qlora": human, "another": human})).judge
    assert (check.system, check.agreement.counts, check.agreement.n) == ("qlora", HUMAN_BY_JUDGE, 200)
    assert check.agreement.kappa.value == pytest.approx(0.6760, abs=5e-5)
    assert (round(check.sensitivity, 4), round(check.specificity, 4), check.apparent) == (0.9262, 0.7647, 0.75)
    assert check.corrected == pytest.approx(0.745)
    assert check.human.value == 0.745
    assert check.agreement.title == "Judge against human labels: qlora"


def test_people_label_a_part_and_a_judge_may_be_no_use() -> None:
    judge = study_labels(2)
    right = [item for item, label in judge.items() if label == "correct"]
    wrong = [item for item, label in judge.items() if label == "wrong"]
    human = {
        "a": {**dict.fromkeys(right[:8], "correct"), right[8]: "wrong", wrong[0]: "wrong", "other-001": "correct"},
        "b": {right[0]: "wrong", wrong[0]: "correct"},
    }
    found = compare(evaluation([system("a", judge), system("b", judge)], human))
    of_a, of_b, pooled = found.judge
    assert (of_a.agreement.n, of_b.agreement.n, pooled.agreement.n, pooled.system) == (10, 2, 12, "all systems")
    assert (of_a.sensitivity, of_a.specificity) == (1, 0.5)
    assert of_a.corrected == pytest.approx((0.745 - 0.5) / 0.5)
    assert math.isnan(of_b.corrected)
    assert pooled.agreement.counts[0][0] == 8
    assert [pair.transition.n for pair in found.human_pairs] == [2]
    assert found.human_pairs[0].warning is not None


def test_annotators() -> None:
    ada, bo = labelled(HUMAN_BY_JUDGE)
    given = {"ada": {f"qlora {i}": x for i, x in ada.items()}, "bo": {f"qlora {i}": x for i, x in bo.items()}}
    given["cy"] = {"base cars-001": "correct"}
    found = compare(evaluation([system("qlora", bo)], annotators=given)).annotators
    assert [(pair.row, pair.column, pair.n) for pair in found.pairs] == [("ada", "bo", 200)]
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(0.6767, abs=5e-4)


def test_the_fall_with_other_knowledge() -> None:
    (effect,) = compare(evaluation(measured(), suite="wow")).knowledge
    assert effect.system == "tuned"
    assert effect.fall.value == pytest.approx(0.30)
    assert effect.fall.low == pytest.approx(0.30 - math.hypot(0.02, 0.03))
    assert effect.fall.high == pytest.approx(0.30 + math.hypot(0.02, 0.04))


def test_everything_becomes_json() -> None:
    human, judge = labelled(HUMAN_BY_JUDGE)
    given = {"qlora": human, "other": {"cars-000": "correct"}}
    systems = [system("qlora", judge, shuffled_kf1=Estimate(0.1, math.nan, math.nan, 3)), system("other", human)]
    found = orjson.loads(orjson.dumps(compare(evaluation(systems, given))))
    assert found["pairs"][0]["mcnemar"]["b"] == 11
    assert len(found["pairs"][0]["transition"]["ids"][0][1]) == 11
    assert found["judge"][1]["specificity"] is None
    assert found["systems"][0]["strict"]["n"] == 200


def test_labels_of_people_and_questions_that_only_one_system_answers() -> None:
    labels = study_labels(2)
    fewer = {item: label for item, label in study_labels(0).items() if not item.startswith("art")}
    given = {"a": labels, "b": labels}
    by_people = replace(evaluation([system("a", labels), system("b", fewer)], given), judge="people, in the UI")
    found = compare(by_people)
    assert found.by_people
    assert (found.judge, found.human_pairs) == ((), ())
    assert [s.strict.n for s in found.systems] == [200, 180]
    assert [topic.topic for topic in found.systems[1].topics] == ["cars", *TOPICS[2:]]
    assert [pair.transition.n for pair in found.pairs] == [180]
    assert len(compare(replace(by_people, judge="lexical-1")).judge) == 3


def test_what_is_refused() -> None:
    labels = study_labels(0)
    with pytest.raises(InputError, match="give one or more"):
        compare(evaluation([]))
    with pytest.raises(InputError, match="a name of its own"):
        compare(evaluation([system("a", labels), system("a", labels)]))
    once = system("a", {"cars-001": "correct"})
    twice = evaluation([system("a", {})])
    with pytest.raises(InputError, match="answered twice"):
        compare(evaluation([type(once)("a", once.costs, once.answers * 2)]))
    assert compare(twice).systems == ()
