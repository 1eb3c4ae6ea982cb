"""A store behind a network, MLflow's server over PostgreSQL: used by all, away for a while, lost, and discreet."""

import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from servers import Relay, Server, free_port
from this_process import done_here

from wikillama import load_adapter
from wikillama.config.paths import ROOT, without_secrets
from wikillama.errors import InputError
from wikillama.model.adapters import attach
from wikillama.model.base import load_base
from wikillama.tracking.registry import adapter_folder
from wikillama.tracking.remote import kept, reason_of, ui
from wikillama.tracking.review import Answer, collect_review, create_review
from wikillama.tracking.run import experiment_id, open_client, tracked_run

TINY = (
    "model=tiny model.source=hub model.weights=pretrained data=wow_mini trainer=cpu data.max_length=256 "
    "data.limit_train=24 data.limit_valid=8 data.limit_test=8 trainer.precision=32-true trainer.batch_size=4 "
    "trainer.log_every_n_steps=1 trainer.threads=1 trainer.progress_bar=false evaluation.max_new_tokens=4 "
    "evaluation.base=false"
)
IDS = torch.arange(5, 105)[None]


@pytest.fixture(scope="module")
def base(job: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with weights that are its own; those of a random one cannot be registered."""
    cfg = job("peft=none")
    folder = tmp_path_factory.mktemp("base")
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)
    attach(base.model, cfg.peft, base.id).save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


def arguments(script: str, overrides: str, uri: str, folder: Path) -> list[str]:
    """What a script is given that leaves everything in `folder` and in the store."""
    places = [f"tracking.uri={uri}", f"hydra.run.dir={folder / 'out' / script}", f"cache_dir={folder / 'cache'}"]
    return [*overrides.split(), *places]


def command(script: str, overrides: str, uri: str, folder: Path) -> list[str]:
    return [sys.executable, str(ROOT / script), *arguments(script, overrides, uri, folder)]


def everything(client: MlflowClient, run_id: str) -> str:
    """What a run says of itself, and its artifacts in text."""
    found = client.get_run(run_id)
    said = [str(found.to_dictionary())]
    for place in (None, "data", "report"):
        for entry in client.list_artifacts(run_id, place):
            if not entry.is_dir and entry.path.endswith((".yaml", ".html", ".json", ".md")):
                said.append(Path(client.download_artifacts(run_id, entry.path)).read_text(encoding="utf-8"))
    return "\n".join(said)


def test_a_job_from_end_to_end(server: Server, relay: Relay, base: Path, tmp_path: Path) -> None:
    """Trained with a user and a password in the address, registered, and loaded as the same system."""
    address = relay.uri.replace("//", "//bob:s3cret@")
    overrides = f"{TINY} model.path={base} tracking.experiment=job tracking.register_as=remote"
    done = done_here("train.py", arguments("train.py", overrides, address, tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"look further  {relay.uri}   (run " in done.stdout
    assert b"Authorization: Basic Ym9iOnMzY3JldA==" in relay.heard

    client = open_client(server.uri)
    version = client.get_model_version_by_alias("remote", "candidate")
    found = client.get_run(version.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert found.data.params["tracking.uri"] == relay.uri
    assert [m.step for m in client.get_metric_history(version.run_id, "train/loss")] == list(range(3))
    for said in (everything(client, version.run_id), done.stdout, done.stderr):
        assert "s3cret" not in said
        assert "bob" not in said

    loaded = load_adapter("models:/remote@candidate", server.uri, "cpu")
    kept = load_adapter(str(tmp_path / "out" / "train.py" / "adapter"), server.uri, "cpu")
    with torch.inference_mode():
        assert torch.equal(loaded.model(IDS).logits, kept.model(IDS).logits)


def test_what_is_not_there_is_refused_at_once(server: Server) -> None:
    started = time.monotonic()
    for uri in ("models:/nope@candidate", "models:/nope/1", f"runs:/{'0' * 32}/adapter"):
        with pytest.raises(InputError, match=f"{uri}: not found in {server.uri}"):
            adapter_folder(uri, server.uri)
    assert time.monotonic() - started < 20


def test_people_judge_on_a_server(server: Server) -> None:
    answers = [Answer("q1", "base", "tea", "What is tea?", "A drink.", "A drink", ("Tea is a drink.",))]
    review = create_review(server.uri, "people", answers, ["ann", "bob"])
    assert review.added == 2
    assert create_review(server.uri, "people", answers, ["ann", "bob"]).added == 0
    progress = collect_review(server.uri, "people").progress
    assert {name: (found.done, found.total) for name, found in progress.items()} == {"ann": (0, 1), "bob": (0, 1)}


def test_a_server_that_is_away_for_a_while_costs_nothing(job: Callable[..., Any], relay: Relay, tmp_path: Path) -> None:
    cfg = job(f"tracking.uri={relay.uri}", "tracking.experiment=away")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        logger = run.lightning_logger()
        logger.log_metrics({"train/loss": 9.0}, step=0)
        run.sender.flush()
        relay.shut()
        started = time.monotonic()
        for step in range(1, 2500):  # more than a call may hold
            logger.log_metrics({"train/loss": 9.0 - step / 1000}, step=step)
        run.table({"step": [2499], "reply": ["Hello."]}, "samples.json")
        assert time.monotonic() - started < 2
        relay.open()
        run.metrics({"val/loss": 2.0}, step=2500)
    client = open_client(relay.uri)
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"train/loss": 9.0 - 2499 / 1000, "val/loss": 2.0}
    assert [m.step for m in client.get_metric_history(run.id, "train/loss")] == list(range(2500))
    assert "samples.json" in [entry.path for entry in client.list_artifacts(run.id)]


def test_a_server_that_is_lost_takes_no_adapter_along(
    job: Callable[..., Any], server: Server, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    cfg = job(f"tracking.uri={relay.uri.replace('//', '//bob:s3cret@')}", "tracking.experiment=lost")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    try:
        with tracked_run(cfg.tracking, cfg, tmp_path) as run, kept(adapter):
            run.metrics({"val/loss": 2.0})
            relay.shut()
            run.artifacts(adapter, "adapter")
    except MlflowException as error:
        told = "".join(traceback.format_exception(error))
    assert f"The adapter is whole, in {adapter}." in told
    assert f"python registry.py import folder={adapter}" in told
    assert f"Run {run.id} could not be closed" in told
    assert "s3cret" not in told
    found = open_client(server.uri).get_run(run.id)
    assert (found.info.status, found.data.metrics) == ("RUNNING", {"val/loss": 2.0})


def test_an_experiment_that_was_deleted(job: Callable[..., Any], server: Server) -> None:
    tracking = job(f"tracking.uri={server.uri}", "tracking.experiment=gone").tracking
    client = open_client(server.uri)
    gone = experiment_id(client, tracking)
    client.delete_experiment(gone)
    with pytest.raises(InputError, match=f"mlflow experiments restore -x {gone}"):
        experiment_id(client, tracking)


def test_no_server_is_said_soon_and_without_its_password() -> None:
    started = time.monotonic()
    port = free_port()
    with pytest.raises(InputError) as caught:
        open_client(f"http://bob:s3cret@127.0.0.1:{port}")
    assert time.monotonic() - started < 20
    assert str(caught.value).startswith(f"tracking.uri=http://127.0.0.1:{port}: the MLflow store cannot be opened (")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://bob:s3cret@host:5432/mlflow", "postgresql://host:5432/mlflow"),
        ("at http://bob@host, and http://host/x", "at http://host, and http://host/x"),
        (
            "postgresql+psycopg2://bob:s3/c@r:et@host/db?sslmode=require",
            "postgresql+psycopg2://host/db?sslmode=require",
        ),
        ("postgresql://host/db?user=bob&password=s3cret&x=1", "postgresql://host/db?user=bob&password=...&x=1"),
        ("models:/wiki-llama@champion", "models:/wiki-llama@champion"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("bob@host wrote: see http://host:5000/a", "bob@host wrote: see http://host:5000/a"),
    ],
)
def test_users_and_passwords_are_left_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_the_reason_of_a_driver_names_no_user() -> None:
    uri = "postgresql+psycopg2://bob:s3%40cret@host/db"
    error = ValueError('FATAL: no entry for user "bob" with s3@cret at\npostgresql+psycopg2://bob:s3%40cret@host/db')
    assert reason_of(error, uri) == "FATAL: no entry for user ... with ... at"
    assert reason_of(ValueError(), uri) == "ValueError"
    assert reason_of(ValueError("no file"), "sqlite:///a@b.db") == "no file"


def test_where_to_look() -> None:
    assert ui("https://bob:s3cret@host/mlflow") == "https://host/mlflow"
    assert ui("sqlite:///mlruns/mlflow.db") == "mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db"


@pytest.mark.slow
def test_a_server_that_is_started_again_while_a_job_trains(server: Server, base: Path, tmp_path: Path) -> None:
    """It is away from the first validation on, for as long as it takes to start; the job neither waits nor fails."""
    overrides = f"{TINY} model.path={base} tracking.experiment=again tracking.register_as=again trainer.max_epochs=30"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command("train.py", overrides, server.uri, tmp_path), stdout=log, stderr=log)
        try:
            checkpoint = tmp_path / "out" / "train.py" / "checkpoints" / "last.ckpt"
            while not checkpoint.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
            server.stop()
            server.start()
            assert process.wait(timeout=600) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
    client = open_client(server.uri)
    version = client.get_model_version_by_alias("again", "candidate")
    assert client.get_run(version.run_id).info.status == "FINISHED"
    (steps,) = re.findall(r"training +(\d+) steps", (tmp_path / "log").read_text())
    assert [m.step for m in client.get_metric_history(version.run_id, "train/loss")] == list(range(int(steps)))


@pytest.mark.slow
def test_a_job_whose_server_never_comes_back(server: Server, relay: Relay, base: Path, tmp_path: Path) -> None:
    overrides = f"{TINY} model.path={base} tracking.experiment=never tracking.register_as=never"
    environment = os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
    process = subprocess.Popen(
        command("train.py", overrides, relay.uri, tmp_path),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    checkpoint = tmp_path / "out" / "train.py" / "checkpoints" / "last.ckpt"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    relay.shut()
    _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    folder = tmp_path / "out" / "train.py" / "adapter"
    assert f"python registry.py import folder={folder}" in said
    given = f"import folder={folder} tracking.register_as=never"
    imported = done_here("registry.py", arguments("registry.py", given, server.uri, tmp_path), tmp_path)
    assert imported.returncode == 0, imported.stderr
    with torch.inference_mode():
        there = load_adapter("models:/never/1", server.uri, "cpu").model(IDS).logits
        assert torch.equal(there, load_adapter(str(folder), server.uri, "cpu").model(IDS).logits)
