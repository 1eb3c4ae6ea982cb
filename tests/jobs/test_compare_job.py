"""compare.py on runs of a tiny model: what it prints, what it leaves in MLflow, and what it refuses in one line."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from omegaconf import open_dict
from this_process import done_here

from wikillama.config import cli
from wikillama.config.compare import CompareConfig, check_compare
from wikillama.config.paths import CONF
from wikillama.config.schema import EvaluateConfig, TrainConfig
from wikillama.errors import InputError
from wikillama.evaluation.run_comparison import RunComparison
from wikillama.jobs.compare import compare
from wikillama.jobs.evaluate import evaluate
from wikillama.jobs.train import train

JOBS: dict[str, tuple[Any, Any]] = {
    "train": (TrainConfig, train),
    "evaluate": (EvaluateConfig, evaluate),
    "compare": (CompareConfig, lambda cfg: (check_compare(cfg), compare(cfg))[1]),
}
TINY = ("model=tiny", "data=wow_mini", "data.max_length=384", "data.limit_test=8")
TRAINED = (
    *TINY, "trainer=cpu", "data.limit_train=8", "data.limit_valid=4", "trainer.precision=32-true",
    "trainer.batch_size=4", "trainer.progress_bar=false", "evaluation.max_new_tokens=4", "evaluation.base=false",
    "evaluation.questions=10", "evaluation.resamples=50", "tracking.register_as=null",
)  # fmt: skip
ASKED = (
    *TINY, "accelerator=cpu", "evaluation.max_new_tokens=4", "evaluation.resamples=50", "systems=[base]"
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Callable[..., Any]]:
    """`run("train", "peft.r=4")`: the job of an entry script in this process, which has loaded torch already."""
    cli.register_resolvers()

    def job(name: str, *overrides: str) -> Any:
        places = [f"tracking.uri=sqlite:///{folder}/mlflow.db", "tracking.system_metrics=false"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw = hydra_compose(name, [*overrides, *places], return_hydra_config=True)
        with open_dict(raw):
            raw.hydra.runtime.output_dir = tempfile.mkdtemp(dir=folder)
            HydraConfig.instance().set_config(raw)
            del raw["hydra"]
            if "cache_dir" in raw:
                raw.cache_dir = f"{folder}/cache"
        schema, main = JOBS[name]
        return main(cli.validate(raw, schema))

    yield job
    HydraConfig.instance().cfg = None


@pytest.fixture(scope="module")
def trained(run: Callable[..., Any]) -> list[str]:
    """Two training runs that differ in rank and seed alone."""
    small = run("train", *TRAINED, "peft.r=2", "seed=1", "tracking.run_name=small")
    large = run("train", *TRAINED, "peft.r=4", "tracking.run_name=large")
    return [small.run_id, large.run_id]


@pytest.fixture(scope="module")
def client(folder: Path, trained: list[str]) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def last_run(client: MlflowClient, kind: str) -> Any:
    experiment = client.get_experiment_by_name("wiki-llama")
    return client.search_runs(
        [experiment.experiment_id], f"tags.`wikillama.kind` = '{kind}'", order_by=["attributes.start_time DESC"]
    )[0]


@pytest.fixture(scope="module")
def base(run: Callable[..., Any], client: MlflowClient) -> str:
    """The base, on the turns that the training runs were scored on."""
    run("evaluate", *ASKED, "suite=wow_mini_seen", "tracking.run_name=before")
    return str(last_run(client, "evaluate").info.run_id)


def test_as_a_user_runs_it(folder: Path, trained: list[str], client: MlflowClient) -> None:
    places = [f"tracking.uri=sqlite:///{folder}/mlflow.db", f"hydra.run.dir={folder}/out"]
    done = done_here("compare.py", [f"runs=[{','.join(trained)}]", "resamples=500", *places], folder)
    assert done.returncode == 0, done.stderr
    for said in (
        "small",
        "large",
        "peft.r",
        "seed",
        "No detectable difference between large and small",
        "wow_mini_seen: perplexity",
        "adapter, MB",
    ):
        assert said in " ".join(done.stdout.split())
    assert "peft.alpha" not in done.stdout
    assert "Traceback" not in done.stderr
    found = last_run(client, "comparison")
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "comparison of small, large"
    assert found.data.tags["wikillama.compared"].split() == trained
    logged = {entry.path for entry in client.list_artifacts(found.info.run_id, "comparison")}
    assert logged == {f"comparison/comparison.{ending}" for ending in ("html", "md", "json", "png")}
    page = (folder / "out" / "comparison" / "comparison.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") or "<!doctype html>" in page[:200]
    assert str(Path.home()) + "/" not in page
    kept = json.loads((folder / "out" / "comparison" / "comparison.json").read_bytes())["comparison"]
    assert kept["resamples"] == 500
    assert kept["params"] == {"peft.r": ["2", "4"], "seed": ["1", "0"]}


def test_figures_are_those_that_the_runs_logged(
    run: Callable[..., RunComparison], trained: list[str], client: MlflowClient
) -> None:
    found = run("compare", f"runs=[{','.join(trained)}]", "resamples=100")
    suites = {suite.suite: suite for suite in found.suites}
    assert suites.keys() == {"qa200", "wow_mini_seen"}
    for row in found.rows:
        logged = client.get_run(row.run_id).data.metrics
        computed = suites["wow_mini_seen"].metrics[row.name]
        for metric in ("loss", "ppl", "bits_per_byte", "f1", "kf1", "know_precision", "rouge_l", "bleu4"):
            assert computed[metric].value == pytest.approx(logged[f"wow_mini_seen/{metric}"]), metric
        counted = suites["qa200"].counted[row.name]
        assert [counted.correct, counted.wrong, counted.ambiguous] == [
            logged[f"qa200/{label}"] for label in ("correct", "wrong", "ambiguous")
        ]
        assert row.costs["adapter, MB"] == logged["adapter/size_mb"]
    (pair,) = suites["qa200"].pairs
    assert pair.transition.n == 10
    loss = next(pair for pair in suites["wow_mini_seen"].metric_pairs if pair.metric == "loss")
    assert (loss.first, loss.second, loss.difference.n) == ("small", "large", 8)
    assert loss.difference.value == pytest.approx(loss.after - loss.before)
    assert loss.after != loss.before
    assert found.remarks == ()


def test_an_evaluation_beside_a_training_run(
    run: Callable[..., RunComparison], trained: list[str], base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    found = run("compare", f"runs=[{base},{trained[0]}]", "resamples=100")
    out = capsys.readouterr().out
    assert "data.limit_train" in out
    assert "peft.r" not in out  # which an evaluation has not
    assert "parameters that not all of them have" in out
    assert [row.name for row in found.rows] == ["before", "small"]
    (seen,) = (suite for suite in found.suites if suite.suite == "wow_mini_seen")
    assert {pair.first for pair in seen.metric_pairs} == {"before"}
    assert seen.remarks == ()
    (asked,) = (suite for suite in found.suites if suite.suite == "qa200")
    assert asked.pairs == ()  # the evaluation was of turns alone


def test_two_of_one_name_and_other_knowledge(
    run: Callable[..., RunComparison], client: MlflowClient, base: str
) -> None:
    run("evaluate", *ASKED, "suite=wow_mini_seen", "knowledge=none", "tracking.run_name=before")
    other = last_run(client, "evaluate").info.run_id
    found = run("compare", "runs=last:2", "resamples=100")
    assert found.runs == (f"before ({base[:8]})", f"before ({other[:8]})")
    (suite,) = found.suites
    assert any(said.startswith("Knowledge differs: gold (before (") for said in suite.remarks)
    assert list(found.params["knowledge.mode"]) == ["gold", "none"]


def test_what_cannot_be_compared_is_one_line_and_no_run(
    run: Callable[..., RunComparison], trained: list[str], base: str, client: MlflowClient
) -> None:
    run("evaluate", *ASKED, "suite=wow_mini_unseen", "tracking.run_name=elsewhere")
    other = last_run(client, "evaluate").info.run_id
    before = last_run(client, "comparison").info.run_id
    for given, said in {
        f"runs=[{trained[0]},{'0' * 32}]": rf"^run {'0' * 32}: no such run in the store",
        f"runs=[{trained[0]}]": r"one run cannot be compared",
        f"runs=[{base},{other}]": r"^these runs have no question and no turn in common under one judge \(before on "
        r"wow_mini_seen; elsewhere on wow_mini_unseen\): score them on one suite",
        f"parent={trained[0]}": rf"^parent={trained[0]}: runs beneath it: 0",
        "runs=last:99": r"^runs=last:99: experiment wiki-llama holds \d+ finished runs with scores",
    }.items():
        with pytest.raises(InputError, match=said) as caught:
            run("compare", given)
        assert "\n" not in str(caught.value)
    assert last_run(client, "comparison").info.run_id == before
