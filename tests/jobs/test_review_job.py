"""Answers before people and their labels back, as with review.create=true, review.collect=true and judge=human."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mlflow
import pytest
from mlflow.entities import AssessmentSource

from wikillama.errors import InputError
from wikillama.evaluation.results import Answer, Costs, Evaluation, SystemResult
from wikillama.jobs.evaluate import NO_LABELS, _by_people, _print_tables
from wikillama.jobs.review import ReviewedLabels, create, review_experiment, reviewed
from wikillama.tracking.review.key import open_place, read_key
from wikillama.tracking.run import open_client

SYSTEMS = ("base", "models:/wiki-llama@candidate")
ITEMS = ("cars-001", "cars-002", "art-001")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('review')}/mlflow.db"


@pytest.fixture(scope="module")
def cfg(compose: Callable[..., Any], store: str) -> Any:
    people = ("review.annotators=[ann,bob]", "review.adjudicator=eve")
    return compose("suite=qa200", f"tracking.uri={store}", *people, name="evaluate")


def result(system: str) -> SystemResult:
    """Answers that the judge calls wrong, all of them."""
    return SystemResult(
        system,
        Costs("two cores"),
        tuple(
            Answer(
                id=item, topic=item[:-4], question=f"What is {item}?", reference=f"It is {item}.",
                knowledge=(f"There is {item}.",), reply=f"Reply {SYSTEMS.index(system)} to {item}.",
                label="wrong", score=0.1, evidence="absent",
            )
            for item in ITEMS
        ),
    )  # fmt: skip


FOUND = Evaluation("qa200", "gold", "lexical-1", tuple(map(result, SYSTEMS)), {"seed": "0"})


def give(cfg: Any, annotator: str, labels: dict[tuple[str, str], str]) -> None:
    """Label answers (item, system) as MLflow's page does."""
    mlflow.set_tracking_uri(cfg.tracking.uri)
    for assignment in read_key(open_place(cfg.tracking.uri, review_experiment(cfg))).assignments:
        if assignment.annotator == annotator and assignment.answer in labels:
            mlflow.log_feedback(
                trace_id=assignment.trace_id,
                name="verdict",
                value=labels[assignment.answer],
                source=AssessmentSource("HUMAN", "default"),
            )


@pytest.fixture(scope="module")
def created(cfg: Any) -> None:
    create(cfg, FOUND)


@pytest.fixture(scope="module")
def labelled(cfg: Any, created: None) -> ReviewedLabels:
    """What people settled: ann has done all, bob all but one, they disagree on one."""
    ann = {(item, system): "correct" for item in ITEMS for system in SYSTEMS}
    bob = ann | {(ITEMS[1], SYSTEMS[1]): "wrong"}
    del bob[ITEMS[2], SYSTEMS[1]]
    give(cfg, "ann", ann | {(ITEMS[0], "base"): "ambiguous"})
    give(cfg, "bob", bob | {(ITEMS[0], "base"): "ambiguous"})
    return reviewed(cfg)


def test_it_is_created_once(cfg: Any, store: str, created: None, capsys: pytest.CaptureFixture[str]) -> None:
    create(cfg, FOUND)
    said = capsys.readouterr().out
    assert "0 answers added" in said
    assert "mlflow server --backend-store-uri sqlite:///" in said
    for annotator in ("ann", "bob"):
        assert f"{annotator}: http://127.0.0.1:5000/#/experiments/" in said
    experiment = open_client(store).get_experiment_by_name("wiki-llama-review-qa200-gold")
    assert experiment is not None
    traces = open_client(store).search_traces(locations=[experiment.experiment_id])
    assert len(traces) == len(ITEMS) * len(SYSTEMS) * 2
    shown = " ".join(str(trace.to_dict()) for trace in traces)
    assert "Reply 1 to art-001." in shown
    assert "There is art-001." in shown
    assert "candidate" not in shown
    assert "lexical" not in shown


def test_each_knowledge_mode_has_a_review_of_its_own(compose: Callable[..., Any], cfg: Any) -> None:
    other = compose("suite=qa200", "knowledge=none", f"tracking.uri={cfg.tracking.uri}", name="evaluate")
    assert review_experiment(other) == "wiki-llama-review-qa200-none"
    with pytest.raises(InputError, match="no review in experiment wiki-llama-review-qa200-none"):
        reviewed(other)


def test_labels_come_back_by_system_and_by_annotator(labelled: ReviewedLabels) -> None:
    base, tuned = SYSTEMS
    assert labelled.settled == {
        base: {"cars-001": "ambiguous", "cars-002": "correct", "art-001": "correct"},
        tuned: {"cars-001": "correct", "art-001": "correct"},
    }
    assert labelled.by_annotator.keys() == {"ann", "bob"}
    assert labelled.by_annotator["ann"][f"{tuned} cars-002"] == "correct"
    assert labelled.by_annotator["bob"][f"{tuned} cars-002"] == "wrong"
    assert [len(labelled.by_annotator[name]) for name in ("ann", "bob")] == [6, 5]


def test_what_is_disputed_goes_to_the_adjudicator(
    cfg: Any, labelled: ReviewedLabels, capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed(cfg)
    said = capsys.readouterr().out
    assert "ann: 6 of 6 answers judged" in said
    assert "bob: 5 of 6 answers judged" in said
    assert "1 answers disputed, in the queue of eve: 0 settled" in said
    give(cfg, "eve", {(ITEMS[1], SYSTEMS[1]): "ambiguous"})
    after = reviewed(cfg)
    assert after.settled == {**labelled.settled, SYSTEMS[1]: {**labelled.settled[SYSTEMS[1]], "cars-002": "ambiguous"}}
    assert after.by_annotator == labelled.by_annotator
    assert "1 settled" in capsys.readouterr().out


@pytest.fixture(scope="module")
def by_people(compose: Callable[..., Any], store: str) -> Any:
    return compose("suite=qa200", "judge=human", f"tracking.uri={store}", name="evaluate")


def test_judged_by_people_only_what_they_settled_counts(by_people: Any, labelled: ReviewedLabels) -> None:
    base, tuned = _by_people(by_people, FOUND.systems, labelled)
    assert base.labels == labelled.settled["base"]
    assert tuned.labels == labelled.settled[SYSTEMS[1]]
    assert [(a.score, a.evidence) for a in base.answers] == [(0, "people"), (1, "people"), (1, "people")]
    assert (base.counts, tuned.counts) == ((2, 0, 1), (2, 0, 0))
    assert base.answers[0].reply == "Reply 0 to cars-001."
    assert (base.name, base.costs) == ("base", Costs("two cores"))


def test_a_judge_that_is_no_person_keeps_its_labels(cfg: Any, labelled: ReviewedLabels) -> None:
    assert _by_people(cfg, FOUND.systems, labelled) == FOUND.systems


@pytest.mark.parametrize("people", [NO_LABELS, ReviewedLabels({"base": {"sports-001": "correct"}}, {})])
def test_without_a_label_people_judge_nothing(by_people: Any, people: ReviewedLabels) -> None:
    with pytest.raises(InputError, match=r"judge=human: .*review\.create=true") as caught:
        _by_people(by_people, FOUND.systems, people)
    assert "\n" not in str(caught.value)


def test_tables_do_without_labels_of_a_system(
    by_people: Any, labelled: ReviewedLabels, capsys: pytest.CaptureFixture[str]
) -> None:
    for people, compared in ((ReviewedLabels({"base": {"cars-001": "correct"}}, {}), False), (labelled, True)):
        _print_tables(replace(FOUND, systems=_by_people(by_people, FOUND.systems, people)))
        said = capsys.readouterr().out
        assert "share correct" in said
        assert ("(rows) ->" in said) == compared
