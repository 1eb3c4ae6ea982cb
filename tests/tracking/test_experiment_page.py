"""What an experiment is furnished with, and that it leaves alone what a user has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wikillama.tracking.description import NOTE
from wikillama.tracking.experiment_page import VIEWS, furnish
from wikillama.tracking.run import open_client, tracked_run


def tags(store: str, name: str) -> dict[str, str]:
    experiment = open_client(store).get_experiment_by_name(name)
    assert experiment is not None
    return dict(experiment.tags)


def test_an_experiment_opens_comparable(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job("tracking.experiment=furnished")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        pass
    client = open_client(store)
    experiment = client.get_run(run.id).info.experiment_id
    found = tags(store, "furnished")
    assert found["mlflow.experimentKind"] == "custom_model_development"
    for view in VIEWS:
        saved = json.loads(found[f"mlflow.sharedViewState.{view}"])
        state = json.loads(saved["state"])
        assert saved["createdAt"] == saved["updatedAt"] > 1.7e12  # milliseconds
        assert f"#/experiments/{experiment}/runs?viewStateShareKey={view}&workflowType=machine_learning)" in found[NOTE]
        shown = client.search_runs([experiment], filter_string=state["searchFilter"])
        assert [one.info.run_id for one in shown] == ([run.id] if view == "wikillama-training" else [])
        assert len(set(state["selectedColumns"])) == len(state["selectedColumns"]) > 5
    assert all(len(value) < 5000 for value in found.values())  # MLflow's limit


def test_columns_are_what_runs_hold(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job("tracking.experiment=columns")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        params = open_client(store).get_run(run.id).data.params
    _, _, columns = VIEWS["wikillama-training"]
    chosen = {column.removeprefix("params.").strip("`") for column in columns if column.startswith("params.")}
    assert chosen
    assert chosen <= params.keys()


def test_what_a_user_changed_is_left(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job("tracking.experiment=changed")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        pass
    client = open_client(store)
    experiment = client.get_run(run.id).info.experiment_id
    client.set_experiment_tag(experiment, NOTE, "ours")
    before = tags(store, "changed")
    furnish(client, experiment)
    assert tags(store, "changed") == before
    assert before[NOTE] == "ours"
