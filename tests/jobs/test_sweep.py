"""Sweeps as a user runs them, on a tiny model: grids with a bad job in them, again, and searches."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from tiny_sweeps import client_of, parents, sweep_here

from wikillama.tracking.reading import RunFacts, children, differing_params, read_run


class Ended(NamedTuple):
    """A sweep that ran: its exit code, its output, its parent and the children of that."""

    code: int
    out: str
    err: str
    parent: RunFacts
    children: list[RunFacts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


def run(overrides: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> Ended:
    code = sweep_here(overrides, folder)
    out, err = capfd.readouterr()
    parent = parents(client_of(folder))[-1]
    return Ended(code, out, err, parent, children(client_of(folder), parent.id))


@pytest.fixture(scope="module")
def client(folder: Path) -> MlflowClient:
    return client_of(folder)


def text_of(client: MlflowClient, run_id: str, name: str) -> str:
    return Path(download_artifacts(run_id=run_id, artifact_path=name, tracking_uri=client.tracking_uri)).read_text()


def test_a_grid_goes_on_behind_a_bad_job(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = run("peft.r=2,0,3 tracking.run_name=ranks", folder, capfd)
    assert done.code == 2  # what failed, the user can mend
    assert (done.parent.name, done.parent.status) == ("ranks", "FAILED")
    assert done.parent.tags["wikillama.sweep.over"] == "peft.r=2,0,3"
    assert [(c.name, c.status) for c in done.children] == [
        ("peft.r=2", "FINISHED"), ("peft.r=0", "FAILED"), ("peft.r=3", "FINISHED")
    ]  # fmt: skip
    assert done.children[1].tags["wikillama.error"] == "config: peft.r=0: input should be greater than 0"
    assert differing_params([done.children[0], done.children[2]]) == {"peft.r": ["2", "3"]}
    assert "failed, 1 of the sweep's jobs:\n  peft.r=0: config: peft.r=0: input should be" in done.err
    assert "Traceback" not in done.err
    lines = [line for line in done.out.splitlines() if line.startswith("job ")]
    assert [line.split(" in ")[0] for line in lines] == [
        "job 1 of 3: peft.r=2",
        "job 1 of 3: peft.r=2: FINISHED",
        "job 2 of 3: peft.r=0",
        "job 2 of 3: peft.r=0: FAILED: config: peft.r=0: input should be greater than 0",
        "job 3 of 3: peft.r=3",
        "job 3 of 3: peft.r=3: FINISHED",
    ]
    assert "F1 0." in lines[1]
    assert "Sweep over peft.r=2,0,3: 2 FINISHED, 1 FAILED" in done.out
    assert "python train.py peft.r=" in done.out


def test_the_parent_holds_table_pictures_and_the_best_job(client: MlflowClient) -> None:
    parent = parents(client)[0]
    assert {a.path for a in client.list_artifacts(parent.id, "sweep")} == {
        f"sweep/{name}" for name in ("jobs.json", "sweep.md", "swept.png", "costs.png")
    }
    table = json.loads(text_of(client, parent.id, "sweep/jobs.json"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["peft.r"] for row in rows] == ["2", "0", "3"]
    assert rows[1]["error"].startswith("config: peft.r=0")
    assert rows[0]["adapter MB"] < rows[2]["adapter MB"]
    assert "size" in rows[0]["front"]
    page = text_of(client, parent.id, "sweep/sweep.md")
    assert "| 1 | 2 | FINISHED |" in page
    assert "Unbeaten at less adapter MB: job 1" in page
    assert page.startswith("# " + parent.tags["mlflow.note.content"])
    best = read_run(client, parent.tags["wikillama.sweep.best"])
    assert best.status == "FINISHED"
    assert parent.metrics["sweep/best_f1"] == best.metrics["wow_mini_seen/f1"]


def test_again_trains_only_what_is_not_there(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    two, _, three = children(client_of(folder), parents(client_of(folder))[0].id)
    done = run("peft.r=2,3,4", folder, capfd)
    assert done.code == 0
    assert done.parent.status == "FINISHED"
    assert [child.name for child in done.children] == ["peft.r=4"]
    found = {name: json.loads(value)["run"] for name, value in done.parent.tags.items() if ".found." in name}
    assert found == {"wikillama.sweep.found.0": two.id, "wikillama.sweep.found.1": three.id}
    assert f"job 1 of 3: peft.r=2: found in run {two.id}: F1 0." in done.out
    assert "Sweep over peft.r=2,3,4: 2 found, 1 FINISHED" in done.out


def test_unless_told_otherwise(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = run("peft.r=2 sweep.rerun=true tracking.run_name=null", folder, capfd)
    assert done.code == 0
    assert done.parent.name == "sweep"
    assert [(child.params["peft.r"], child.status) for child in done.children] == [("2", "FINISHED")]


def test_a_search_goes_by_what_its_jobs_return(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    search = "hydra/sweeper=optuna hydra.sweeper.n_trials=3 sweep.objective=loss hydra.sweeper.sampler.seed=0"
    done = run(f"{search} peft.r=2 optim.lr=choice(0,1e-4,1e-1)", folder, capfd)
    assert [line.partition(":")[0] for line in done.out.splitlines() if line.startswith("job 3")][-1] == "job 3 of 3"
    tried = {child.params.get("optim.lr"): child.metrics.get("wow_mini_seen/loss") for child in done.children}
    losses = [loss for loss in tried.values() if loss is not None]
    best = (folder / "sweep" / "optimization_results.yaml").read_text()
    assert f"best_value: {min(losses)}" in best
    assert done.parent.metrics["sweep/best_loss"] == min(losses)


def test_a_search_without_a_good_trial_ends_as_its_trials_did(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    done = run("hydra/sweeper=optuna hydra.sweeper.n_trials=2 peft.r=choice(0,-1)", folder, capfd)
    assert done.code == 2
    assert [child.status for child in done.children] == ["FAILED", "FAILED"]
    assert "failed, 2 of the sweep's jobs:" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("trainer.strategy=ddp peft.r=2,3", "trainer.strategy=ddp"),
        ("resume=last peft.r=2,3", "resume=last"),
        ("peft=lora,nope", "nope"),
        ("sweep.objective=best peft.r=2,3", "objective"),
    ],
)
def test_what_cannot_be_swept_is_one_line_and_leaves_no_run(
    folder: Path, capfd: pytest.CaptureFixture[str], overrides: str, said: str
) -> None:
    before = len(parents(client_of(folder)))
    assert sweep_here(overrides, folder) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert len(parents(client_of(folder))) == before


def test_a_dry_run_of_a_sweep_leaves_no_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = len(parents(client_of(folder)))
    assert sweep_here("dry_run=true peft.r=2,3", folder) == 0
    out = capfd.readouterr().out
    assert "4,096" in out
    assert "6,144" in out
    assert len(parents(client_of(folder))) == before
