"""evaluate.py on a tiny model: what it prints and leaves in MLflow, what it asks again, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from mlflow.entities import Run
from omegaconf import open_dict
from one_process import Command, run_all

from wikillama.config import cli
from wikillama.config.paths import CONF, ROOT
from wikillama.config.rules import check_evaluate
from wikillama.config.schema import EvaluateConfig
from wikillama.errors import InputError
from wikillama.jobs import systems
from wikillama.jobs.evaluate import evaluate, metric_name
from wikillama.model.adapters import attach, save, trainable
from wikillama.model.base import load_base
from wikillama.model.recipe import Recipe

TINY = [
    "model=tiny", "evaluation.max_new_tokens=8", "evaluation.resamples=200", "data.max_length=512", "accelerator=cpu"
]  # fmt: skip
QUESTIONS = ["suite=qa200", "suite.limit=10"]
TURNS = ["suite=wow_mini_seen", "data.limit_test=8"]


class Ended(NamedTuple):
    """How an evaluation ended, and its run in MLflow."""

    code: int
    out: str
    err: str
    run: Run | None

    @property
    def folder(self) -> Path:
        assert self.run is not None, self.err
        return Path(str(self.run.info.artifact_uri).removeprefix("file://"))

    @property
    def metrics(self) -> dict[str, float]:
        assert self.run is not None, self.err
        return dict(self.run.data.metrics)

    def results(self, suite: str = "qa200") -> Any:
        return json.loads((self.folder / suite / "results.json").read_bytes())["evaluation"]

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("evaluate")


def places(folder: Path) -> list[str]:
    return [
        f"tracking.uri=sqlite:///{folder}/mlflow.db", f"cache_dir={folder}/cache", f"hydra.run.dir={folder}/out"
    ]  # fmt: skip


def run_of(folder: Path, out: str) -> Run | None:
    said = re.search(r"\(run (\w+)\)", out)
    return MlflowClient(f"sqlite:///{folder}/mlflow.db").get_run(said[1]) if said else None


@pytest.fixture(scope="module")
def first(folder: Path) -> Ended:
    """The base, asked as users ask it."""
    command = [sys.executable, str(ROOT / "evaluate.py"), *TINY, *QUESTIONS, "systems=[base]", *places(folder)]
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    return Ended(done.returncode, done.stdout, done.stderr, run_of(folder, done.stdout))


@pytest.fixture
def ask(folder: Path, first: Ended, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """`ask("systems=[base]", ...)`: the same in this process, which has loaded torch already."""

    def run(*overrides: str) -> Ended:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw = compose("evaluate", [*TINY, *overrides, *places(folder)], return_hydra_config=True)
        with open_dict(raw):
            raw.hydra.runtime.output_dir = f"{folder}/out"
            HydraConfig.instance().set_config(raw)
            del raw["hydra"]
        cfg = cli.validate(raw, EvaluateConfig)
        check_evaluate(cfg)
        capsys.readouterr()
        evaluate(cfg)
        out, err = capsys.readouterr()
        return Ended(0, out, err, run_of(folder, out))

    cli.register_resolvers()
    yield run
    HydraConfig.instance().cfg = None


@pytest.fixture
def no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base cannot be loaded: only what it has said before is there."""

    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(systems, "load_base", refuse)


@pytest.fixture(scope="module")
def adapter(request: pytest.FixtureRequest, folder: Path) -> str:
    """An adapter as train.py exports it, with weights that change every reply."""
    cfg = request.getfixturevalue("compose")("model=tiny", "quantization=nf4", "peft=qlora")
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    model = attach(base.model, cfg.peft, base.id)
    for parameter in trainable(model).values():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.3
    exported = save(model, folder / "exported")
    Recipe(
        model=cfg.model, base_id=base.id, base_weights_hash=base.weights_hash, dtype="float32",
        quantization=cfg.quantization, peft=cfg.peft, knowledge=cfg.knowledge, prompt=cfg.prompt,
        max_length=512, max_new_tokens=8,
    ).write(exported)  # fmt: skip
    return str(exported)


def test_it_ends_with_tables_and_a_report(first: Ended) -> None:
    assert first.code == 0, first.err
    assert "qa200, gold knowledge, judge lexical-" in first.out
    assert "base: 10 questions" in first.out
    for row in ("share correct", "wall time", "report", "mlflow ui --backend-store-uri"):
        assert row in first.out
    assert "Traceback" not in first.err


def test_mlflow_holds_counts_answers_and_the_report(first: Ended) -> None:
    assert first.run is not None, first.err
    assert first.run.info.status == "FINISHED"
    counts = [first.metrics[f"qa200/base/{label}"] for label in ("correct", "wrong", "ambiguous")]
    assert sum(counts) == 10
    for cost in ("start_s", "ttft_ms", "reply_s", "peak_gb"):
        assert first.metrics[f"runtime/base/{cost}"] > 0
    (base,) = first.results()["systems"]
    page = (first.folder / "qa200" / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "greedy, at most 8 new tokens" in page
    assert base["name"] == "base"
    assert [sum(a["label"] == label for a in base["answers"]) for label in ("correct", "wrong", "ambiguous")] == counts
    assert base["answers"] == first.lines("qa200/base/answers.jsonl")
    assert len({answer["topic"] for answer in base["answers"]}) == 10
    assert all(answer["knowledge"] for answer in base["answers"])
    assert first.results()["provenance"]["decoding"] == "greedy, at most 8 new tokens"


def test_a_second_evaluation_asks_nothing(ask: Callable[..., Ended], first: Ended, no_base: None) -> None:
    again = ask(*QUESTIONS, "systems=[base]")
    assert again.results()["systems"][0]["answers"] == first.results()["systems"][0]["answers"]
    assert again.metrics["runtime/base/reply_s"] == first.metrics["runtime/base/reply_s"]
    fewer = ask("suite=qa200", "suite.limit=5", "systems=[base]")
    assert len(fewer.results()["systems"][0]["answers"]) == 5


def test_without_knowledge_it_is_asked_again(ask: Callable[..., Ended], no_base: None) -> None:
    with pytest.raises(AssertionError, match="the base was loaded"):
        ask(*QUESTIONS, "systems=[base]", "knowledge=none")


def test_two_systems_are_compared(ask: Callable[..., Ended], adapter: str, no_base: None) -> None:
    ended = ask(*QUESTIONS, f"systems=[base,{adapter}]")
    assert "(rows) ->" in ended.out
    assert "exact McNemar p = " in " ".join(ended.out.split())
    base, tuned = ended.results()["systems"]
    assert (base["name"], tuned["name"]) == ("base", adapter)
    assert [a["id"] for a in base["answers"]] == [a["id"] for a in tuned["answers"]]
    assert [a["reply"] for a in base["answers"]] != [a["reply"] for a in tuned["answers"]]
    size = sum(file.stat().st_size for file in Path(adapter).glob("*.safetensors"))
    assert tuned["costs"]["adapter_mb"] == pytest.approx(size / 1e6)
    assert base["costs"]["adapter_mb"] is None
    comparison = json.loads((ended.folder / "qa200" / "results.json").read_bytes())["comparison"]
    (pair,) = comparison["pairs"]
    assert sum(map(sum, pair["transition"]["counts"])) == 10
    assert (
        sum(ended.metrics[f"qa200/{adapter.strip('/')}/{label}"] for label in ("correct", "wrong", "ambiguous")) == 10
    )


def test_turns_are_scored_with_and_without_their_own_knowledge(ask: Callable[..., Ended]) -> None:
    ended = ask(*TURNS, "systems=[base]", "evaluation.shuffled_control=true")
    assert "wow_mini_seen, gold knowledge" in ended.out
    assert "perplexity" in ended.out
    (base,) = ended.results("wow_mini_seen")["systems"]
    assert base["answers"] == []
    predictions = ended.lines("wow_mini_seen/base/predictions.jsonl")
    known = [p["kf1"] for p in predictions if p["kf1"] is not None]
    assert (len(predictions), base["metrics"]["kf1"]["n"]) == (8, len(known))
    assert base["shuffled_kf1"]["n"] == len(known)
    assert 0 <= base["shuffled_kf1"]["value"] <= 1
    for name in ("loss", "ppl", "bits_per_byte", "f1", "kf1", "rare_f1", "rare_f1_unseen_kept", "turns"):
        assert f"wow_mini_seen/base/{name}" in ended.metrics
    assert ended.metrics["wow_mini_seen/base/ppl"] == base["metrics"]["ppl"]["value"] > 1
    assert ended.metrics["wow_mini_seen/base/turns"] == 8
    assert ended.results("wow_mini_seen")["judge"] is None


def test_turns_scored_before_are_not_asked_again(ask: Callable[..., Ended], no_base: None) -> None:
    ended = ask(*TURNS, "systems=[base]")
    assert ended.results("wow_mini_seen")["systems"][0]["shuffled_kf1"] is None


def test_people_judge_what_they_have_labelled(ask: Callable[..., Ended], no_base: None) -> None:
    few = ["suite=qa200", "suite.limit=5", "systems=[base]"]
    with pytest.raises(InputError, match="no review in experiment wiki-llama-review-qa200-gold"):
        ask(*few, "judge=human")
    assert "10 answers added" in ask(*few, "review.create=true").out
    with pytest.raises(InputError, match=r"^judge=human: nobody has labelled an answer yet"):
        ask(*few, "judge=human")


REFUSED = {
    "predictions=/nowhere.jsonl": "predictions=/nowhere.jsonl: no such file",
    "calibrate=true labelled=/nowhere.jsonl": "labelled=/nowhere.jsonl: no such file",
    "calibrate=true": "calibrate=true needs labelled replies",
    "judge=chat suite=qa200": "judge=chat: give judge.url=",
    "judge=local judge.model=/nowhere suite=qa200": "judge=local: give judge.model=FOLDER",
    "review.create=true suite=seen": "review.create=true puts answers to questions before people: use suite=qa200",
    "systems=[base,base]": "systems: base is named twice",
    "systems=[]": "systems",
    "suite=qa200 suite.limit=0": "suite.limit=0",
    "suite=nothing": "nothing",
}


def test_what_cannot_be_is_one_line_before_torch_is_loaded(folder: Path) -> None:
    ends = run_all([Command("evaluate.py", bad.split()) for bad in REFUSED], ROOT, *places(folder))
    for done, (bad, reason) in zip(ends, REFUSED.items(), strict=True):
        assert (done.returncode, done.imported) == (2, []), bad
        (said,) = done.stderr.splitlines()
        assert said.startswith("error: "), bad
        assert reason in said


def test_metrics_are_named_as_mlflow_allows() -> None:
    assert metric_name("models:/wiki-llama@candidate") == "models/wiki-llama candidate"
    assert metric_name("runs:/0123abc/adapter") == "runs/0123abc/adapter"
    assert metric_name("/home/me/adapter/") == "home/me/adapter"
    assert metric_name("base") == "base"
