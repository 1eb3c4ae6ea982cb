"""Runs as they are read back: facts, children, what differs, what their systems answered; from files and a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import Server

from wikillama.errors import InputError
from wikillama.evaluation.results import Answer, Prediction
from wikillama.tracking import reading
from wikillama.tracking.reading import (
    RunFacts,
    children,
    differing_params,
    read_lines,
    read_results,
    read_rows,
    read_run,
    scored_files,
)
from wikillama.tracking.run import TrackedRun, open_client, tracked_run

ANSWER = Answer("cars-1", "cars", "When?", "1964", ("It came in 1964.",), "In 1964.", "correct", 0.9, "accepted: 1964")
TURN = Prediction("d:1", "d", None, ("Hi.", "Hello."), ("Tea.",), "Tea.", "Yes.", "No.", 0.5, None, 12.5, 4)


@pytest.fixture
def run(job: Callable[..., Any], tmp_path: Path) -> Callable[..., TrackedRun]:
    """`run(*overrides, log=...)`: a finished run, into which `log` wrote."""

    def make(*overrides: str, log: Callable[[TrackedRun], object] = lambda _: None) -> TrackedRun:
        cfg = job("tracking.experiment=reading", "tracking.system_metrics=false", *overrides)
        with tracked_run(cfg.tracking, cfg, tmp_path) as opened:
            log(opened)
        return opened

    return make


def test_facts_of_a_run(run: Callable[..., TrackedRun]) -> None:
    def log(opened: TrackedRun) -> None:
        opened.metrics({"val/loss": 3.0}, step=1)
        opened.metrics({"val/loss": 2.5}, step=2)

    made = run("peft.r=5", "tracking.run_name=five", log=log)
    found = read_run(made.client, made.id)
    assert (found.id, found.name, found.status) == (made.id, "five", "FINISHED")
    assert found.params["peft.r"] == "5"
    assert found.metrics["val/loss"] == 2.5
    assert len(found.tags["wikillama.config_hash"]) == 16
    assert found.started is not None
    assert found.seconds is not None
    assert found.started > 1.7e9
    assert 0 < found.seconds < 60


def test_an_open_run_has_no_duration(run: Callable[..., TrackedRun]) -> None:
    seen: list[RunFacts] = []
    run(log=lambda opened: seen.append(read_run(opened.client, opened.id)))
    assert (seen[0].status, seen[0].seconds) == ("RUNNING", None)


def test_unknown_and_deleted_runs_are_one_line(run: Callable[..., TrackedRun]) -> None:
    made = run()
    for wanted in ("0" * 32, "no/such id"):
        with pytest.raises(InputError, match=rf"^run {wanted}: no such run in the store") as caught:
            read_run(made.client, wanted)
        assert "\n" not in str(caught.value)
    made.client.delete_run(made.id)
    with pytest.raises(InputError, match=rf"^run {made.id} was deleted: restore it with `mlflow runs restore"):
        read_run(made.client, made.id)


def test_children_oldest_first_from_all_pages(run: Callable[..., TrackedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE", 2)
    parent, other = run(), run()
    experiment = parent.client.get_run(parent.id).info.experiment_id

    def child(of: TrackedRun, start: int) -> str:
        tags = {"mlflow.parentRunId": of.id}
        return str(parent.client.create_run(experiment, start_time=start, tags=tags).info.run_id)

    made = [child(parent, start) for start in (5000, 1000, 4000, 2000, 3000)]
    child(other, 2500)
    parent.client.delete_run(made[2])
    assert [found.started for found in children(parent.client, parent.id)] == [1, 2, 3, 5]
    assert children(parent.client, made[0]) == []
    with pytest.raises(InputError, match="no such run"):
        children(parent.client, "0" * 32)


def facts(**params: str) -> RunFacts:
    return RunFacts("id", "name", "FINISHED", 0.0, 1.0, params, {}, {})


def test_params_that_differ() -> None:
    first = facts(**{"peft.r": "4", "seed": "0", "tracking.uri": "a", "cache_dir": "x", "resume": "None", "old": "1"})
    second = facts(**{"peft.r": "8", "seed": "0", "tracking.uri": "b", "cache_dir": "y", "resume": "last"})
    assert differing_params([first, second, first]) == {"old": ["1", "", "1"], "peft.r": ["4", "8", "4"]}
    assert differing_params([first, first]) == {}
    assert differing_params([first]) == {}


def scores(opened: TrackedRun) -> None:
    """As train.py and evaluate.py leave them."""
    opened.json_lines([TURN], "wow_seen/predictions.jsonl")
    opened.json_lines([TURN, TURN], "wow_seen/base/predictions.jsonl")
    opened.json_lines([ANSWER], "qa200/models/wiki-llama candidate/answers.jsonl")
    opened.text('{"evaluation": {"knowledge": "gold", "judge": "lexical-1"}}', "qa200/results.json")
    opened.text("{}", "adapter/deep/answers.jsonl")
    opened.text("{}", "answers.jsonl")
    opened.text('{"id": 1}\nnot json', "qa200/broken.jsonl")


SCORED = {
    ("qa200", "models/wiki-llama candidate", "qa200/models/wiki-llama candidate/answers.jsonl", True),
    ("wow_seen", "", "wow_seen/predictions.jsonl", False),
    ("wow_seen", "base", "wow_seen/base/predictions.jsonl", False),
}


def check_scores(uri: str, run_id: str) -> None:
    client = open_client(uri)
    found = {(file.suite, file.system, file.path, file.holds_answers) for file in scored_files(client, run_id)}
    assert found == SCORED
    path = "qa200/models/wiki-llama candidate/answers.jsonl"
    assert read_rows(client, run_id, path, Answer) == (ANSWER,)
    assert read_rows(client, run_id, "wow_seen/base/predictions.jsonl", Prediction) == (TURN, TURN)
    assert read_results(client, run_id, "qa200") == {"knowledge": "gold", "judge": "lexical-1"}
    assert read_results(client, run_id, "wow_seen") == {}


def test_answers_and_replies_of_any_system(run: Callable[..., TrackedRun], store: str) -> None:
    made = run(log=scores)
    check_scores(store, made.id)
    with pytest.raises(InputError, match=r"qa200/broken.jsonl is broken"):
        read_lines(made.client, made.id, "qa200/broken.jsonl")
    with pytest.raises(InputError, match=r"nothing.jsonl cannot be read"):
        read_lines(made.client, made.id, "nothing.jsonl")
    with pytest.raises(InputError, match=r"answers.jsonl is none of ours: .*missing"):
        read_rows(made.client, made.id, "answers.jsonl", Answer)


def test_the_same_from_a_server(run: Callable[..., TrackedRun], server: Server) -> None:
    made = run(f"tracking.uri={server.uri}", log=scores)
    check_scores(server.uri, made.id)
    assert read_run(open_client(server.uri), made.id).status == "FINISHED"
    with pytest.raises(InputError, match="no such run in the store"):
        read_run(open_client(server.uri), "0" * 32)


def test_rows_of_older_runs(run: Callable[..., TrackedRun]) -> None:
    line = '{"id": "d:1", "dialogue_id": "d", "topic": null, "history": [], "knowledge": [], "gold_knowledge": null, '
    line += '"reference": "Yes.", "reply": "No.", "f1": 0.5, "kf1": null, "of_tomorrow": 1}\n'
    made = run(log=lambda opened: opened.text(line, "seen/predictions.jsonl"))
    (found,) = read_rows(made.client, made.id, "seen/predictions.jsonl", Prediction)
    assert (found.nll, found.tokens, found.reply) == (None, None, "No.")
