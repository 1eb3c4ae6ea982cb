"""What a run records, how it ends, and which run is the last one to resume."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mlflow.artifacts import download_artifacts

from wikillama.config.schema import TrainConfig
from wikillama.errors import InputError
from wikillama.evaluation.results import Prediction
from wikillama.tracking.facts import config_hash, flat
from wikillama.tracking.reading import read_rows, scored_files
from wikillama.tracking.run import checkpoints_of, open_client, tracked_run


def text_of(store: str, run_id: str, name: str) -> str:
    return Path(download_artifacts(run_id=run_id, artifact_path=name, tracking_uri=store)).read_text()


def test_a_run_holds_its_configuration_and_facts(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job("peft.r=5", "tracking.run_name=five")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        run.metrics({"val/loss": 2.5}, step=3)
    found = open_client(store).get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "five"
    assert found.data.params["peft.r"] == "5"
    assert found.data.params["model.architecture.hidden_size"] == "64"
    assert found.data.params["data.limit_train"] == "None"
    assert found.data.metrics == {"val/loss": 2.5}
    assert TrainConfig.model_validate(yaml.safe_load(text_of(store, run.id, "config.yaml"))).peft == cfg.peft
    tags = found.data.tags
    assert len(tags["wikillama.git_commit"]) == 40
    assert tags["wikillama.git_dirty"] in ("true", "false")
    assert tags["wikillama.config_hash"] == config_hash(cfg)
    assert {"torch", "peft", "transformers", "mlflow"} <= json.loads(tags["wikillama.packages"]).keys()
    assert ("GB" if torch.cuda.is_available() else "cores") in tags["wikillama.hardware"]


def secretive(cfg: TrainConfig) -> TrainConfig:
    """The same job, with a password in the store's address and the home directory in paths."""
    home = str(Path.home())
    tracking = cfg.tracking.model_copy(update={"uri": "postgresql://bob:s3cret@host:5432/mlflow"})
    data = cfg.data.model_copy(update={"path": f"{home}/corpus"})
    return cfg.model_copy(update={"tracking": tracking, "data": data, "cache_dir": f"{home}/.cache/wikillama"})


def test_params_are_flat_and_hold_no_secret(job: Callable[..., Any]) -> None:
    params = flat(secretive(job()))
    assert all(isinstance(value, str) for value in params.values())
    assert params["tracking.uri"] == "postgresql://host:5432/mlflow"
    assert params["data.path"] == "~/corpus"
    assert params["peft.target_modules"] == "all-linear"


def test_nothing_stored_holds_a_secret(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job()
    checkpoints = Path.home() / "run" / "checkpoints"
    with pytest.raises(ValueError, match="boom"), tracked_run(cfg.tracking, secretive(cfg), checkpoints) as run:
        raise ValueError(f"boom in {Path.home()}/corpus")
    found = open_client(store).get_run(run.id)
    stored = json.dumps(found.data.to_dictionary()) + text_of(store, run.id, "config.yaml")
    assert "~/corpus" in stored
    assert "s3cret" not in stored
    assert f"{Path.home()}/" not in stored


@pytest.mark.parametrize(
    ("error", "status", "tag"),
    [
        (ValueError("first line\nsecond line"), "FAILED", "ValueError: first line"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt: "),
        (SystemExit(3), "FAILED", "SystemExit: 3"),
    ],
)
def test_a_run_that_raises_says_so(
    job: Callable[..., Any], store: str, tmp_path: Path, error: BaseException, status: str, tag: str
) -> None:
    cfg = job()
    with pytest.raises(type(error)), tracked_run(cfg.tracking, cfg, tmp_path) as run:
        raise error
    found = open_client(store).get_run(run.id)
    assert found.info.status == status
    assert found.data.tags["wikillama.error"] == tag
    assert found.info.end_time is not None


def test_the_hash_is_of_what_is_computed(job: Callable[..., Any]) -> None:
    same = job("tracking.run_name=other", "tracking.register_as=null", "cache_dir=/elsewhere", "resume=last")
    assert config_hash(same) == config_hash(job())
    for other in ("peft.r=4", "seed=1", "data.limit_train=8", "quantization.double_quant=false"):
        assert config_hash(job(other)) != config_hash(job())


def test_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    for uri in (f"sqlite:///{tmp_path}/mlflow.db", "sqlite:////proc/nope/mlflow.db", "nonsense://x"):
        with pytest.raises(InputError, match="the MLflow store cannot be opened"):
            open_client(uri)


def test_the_last_run_is_the_last_that_has_a_checkpoint(job: Callable[..., Any], tmp_path: Path) -> None:
    """Runs that failed before their first checkpoint, and evaluations, come after it and are passed over."""
    cfg = job("tracking.experiment=resuming")
    with pytest.raises(InputError, match="resume=last"):
        checkpoints_of(cfg.tracking, "last")
    for name in ("old", "newer", "without", "without either"):
        with tracked_run(cfg.tracking, cfg, tmp_path / name) as run:
            if not name.startswith("without"):
                (tmp_path / name).mkdir()
                (tmp_path / name / "last.ckpt").touch()
    assert checkpoints_of(cfg.tracking, "last") == tmp_path / "newer"
    with pytest.raises(InputError, match="has left no checkpoint"):
        checkpoints_of(cfg.tracking, run.id)
    with pytest.raises(InputError, match="no such run"):
        checkpoints_of(cfg.tracking, "0" * 32)


def test_a_resumed_run_is_the_same_run(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job()
    with pytest.raises(OSError, match="power"), tracked_run(cfg.tracking, cfg, tmp_path) as run:
        raise OSError("power")
    with tracked_run(cfg.tracking, cfg, tmp_path, resume=run.id) as again:
        assert again.id == run.id
        assert open_client(store).get_run(run.id).info.status == "RUNNING"
    found = open_client(store).get_run(run.id)
    assert found.info.status == "FINISHED"


def test_a_run_without_a_name_is_called_by_what_it_is(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job("peft.r=4", "quantization=nf4")
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        found = open_client(store).get_run(run.id)
    assert found.info.run_name == "tiny qlora r4 nf4"
    assert found.data.tags["wikillama.kind"] == "train"
    assert "**LoRA of rank 4 on all linear layers**" in found.data.tags["mlflow.note.content"]


def test_rows_are_added_to_a_table(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    cfg = job()
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        for step in (0, 3):
            run.table({"step": [step, step], "reply": ["one\n|", f"\u00fc {step}"]}, "samples.json")
    table = json.loads(text_of(store, run.id, "samples.json"))
    assert table["columns"] == ["step", "reply"]
    assert table["data"] == [[0, "one\n|"], [0, "\u00fc 0"], [3, "one\n|"], [3, "\u00fc 3"]]
    shown = json.loads(open_client(store).get_run(run.id).data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "samples.json", "type": "table"}]


def prediction(number: int) -> Prediction:
    return Prediction(
        f"{number}:1", str(number), "tea", ("Hi!",) * 9, ("Tea is a drink. " * 40,), None, "Yes.", "\u00fc", 0, None
    )


def test_many_rows_are_compressed_and_read_back(job: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """A full test split has 4,356 turns; with retrieved knowledge a row of it takes 1.9 kB."""
    cfg = job()
    many, few = [prediction(n) for n in range(4356)], [prediction(1)]
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        run.json_lines(many, "full/base/predictions.jsonl")
        run.json_lines(few, "few/predictions.jsonl")
    client = open_client(store)
    found = {file.suite: file for file in scored_files(client, run.id)}
    assert found["full"].path == "full/base/predictions.jsonl.gz"
    assert found["full"].system == "base"
    assert found["few"].path == "few/predictions.jsonl"
    assert read_rows(client, run.id, found["full"].path, Prediction) == tuple(many)
    assert read_rows(client, run.id, found["few"].path, Prediction) == tuple(few)
    sizes = [entry.file_size for place in ("full/base", "few") for entry in client.list_artifacts(run.id, place)]
    assert max(sizes) < 1_000_000
