"""The main job as a user runs it, on a tiny model: what it prints, what MLflow then holds, and who can load it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from this_process import done_here

from wikillama import load_adapter
from wikillama.config.paths import ROOT
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode
from wikillama.errors import InputError
from wikillama.tracking.registry import adapter_folder

Done = subprocess.CompletedProcess[str]

TINY = (
    "model=tiny data=wow_mini trainer=cpu data.max_length=256 data.limit_train=24 data.limit_valid=8 data.limit_test=8 "
    "trainer.precision=32-true trainer.batch_size=4 trainer.log_every_n_steps=1 trainer.threads=1 "
    "trainer.progress_bar=false evaluation.max_new_tokens=4"
)
METRICS = {
    "train/loss", "train/tokens_per_s", "train/target_tokens", "val/loss", "val/ppl", "memory/peak_gb",
    "adapter/size_mb", "adapter/params", "runtime/init_s",
    "data/train_cut_history", "data/train_cut_prompt", "data/valid_cut_history", "data/valid_cut_prompt",
    "wow_mini_seen/loss", "wow_mini_seen/ppl", "wow_mini_seen/f1", "wow_mini_seen/kf1", "wow_mini_seen/base/ppl",
}  # fmt: skip

# logits of an adapter, loaded where nothing of the training process is left
LOGITS = """
import sys, torch
from wikillama import load_adapter
uri, store, ids, out = sys.argv[1:]
torch.set_num_threads(1)
bot = load_adapter(uri, tracking_uri=store, accelerator="cpu")
with torch.inference_mode():
    torch.save(bot.model(input_ids=torch.load(ids, weights_only=True)).logits, out)
"""


def arguments(script: str, overrides: str, folder: Path) -> list[str]:
    """What a script is given that leaves everything in `folder`, which has a store of its own."""
    places = [f"tracking.uri={store(folder)}", f"cache_dir={folder / 'cache'}"]
    return [*overrides.split(), *places, f"hydra.run.dir={folder / 'out' / script}", f"hydra.sweep.dir={folder}/sweep"]


def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Done:
    """The job in a process of its own."""
    overrides = f"{TINY} tracking.register_as=null trainer.validations_per_epoch=2"
    command = [sys.executable, str(ROOT / "train.py"), *arguments("train.py", overrides, folder)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.5"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def client(trained: Done, folder: Path) -> MlflowClient:
    assert trained.returncode == 0, trained.stderr
    return MlflowClient(store(folder))


@pytest.fixture(scope="module")
def run_id(client: MlflowClient) -> str:
    (found,) = runs_of(client)
    return str(found.info.run_id)


def runs_of(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([client.get_experiment_by_name("wiki-llama").experiment_id]))


def artifact(client: MlflowClient, run_id: str, name: str) -> Path:
    return Path(str(client.get_run(run_id).info.artifact_uri).removeprefix("file://")) / name


def test_it_ends_with_its_table(trained: Done) -> None:
    assert trained.returncode == 0, trained.stderr
    shown = ("loss (nats a token)", "perplexity", "F1", "knowledge-F1", "parameters", "tokens/s", "peak memory")
    assert [row for row in (*shown, "wall time", "mlflow ui --backend-store-uri") if row not in trained.stdout] == []
    assert "Traceback" not in trained.stderr


def test_mlflow_holds_the_run(client: MlflowClient, run_id: str) -> None:
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert METRICS - found.data.metrics.keys() == set()
    assert found.data.metrics["adapter/params"] == 24_576
    assert found.data.params["peft.r"] == "12"
    for tag in ("git_commit", "config_hash", "data_fingerprint", "base_model", "base_weights_hash", "hardware"):
        assert found.data.tags[f"wikillama.{tag}"]
    artifacts = {a.path for place in (None, "adapter", "data") for a in client.list_artifacts(run_id, place)}
    assert {"config.yaml", "adapter/adapter_model.safetensors", "adapter/wikillama.json"} <= artifacts
    assert "data/label_report.html" in artifacts


def test_the_data_are_those_of_the_cache(client: MlflowClient, folder: Path, run_id: str) -> None:
    found = client.get_run(run_id).data
    (entry,) = (folder / "cache" / "prepared").glob("wow_mini-train-*/facts.json")
    facts = json.loads(entry.read_bytes())
    assert found.tags["wikillama.data_fingerprint"] == facts["fingerprint"]
    assert facts["replies"] > 24  # of which this job takes but some
    cut = [found.metrics[f"data/train_cut_{what}"] for what in ("history", "prompt")]
    assert 0 < sum(cut) <= 24


def test_the_label_report_is_there_before_anything_is_learnt(client: MlflowClient, run_id: str) -> None:
    report = artifact(client, run_id, "data/label_report.html")
    page = report.read_text(encoding="utf-8")
    assert "what it learns: train" in page
    assert page.count("<mark>") == 21
    written = report.stat().st_mtime * 1000
    for metric in ("wow_mini_seen/base/ppl", "train/loss"):
        assert written < min(logged.timestamp for logged in client.get_metric_history(run_id, metric)) + 1


def test_nothing_private_is_logged(client: MlflowClient, run_id: str) -> None:
    data = client.get_run(run_id).data
    said = json.dumps([data.params, {k: v for k, v in data.tags.items() if k.startswith("wikillama.")}])
    said += artifact(client, run_id, "data/label_report.html").read_text(encoding="utf-8")
    assert str(Path.home()) + "/" not in said
    assert str(ROOT) not in said


def test_one_can_watch_it_change(client: MlflowClient, run_id: str) -> None:
    found = client.get_run(run_id).data
    table = json.loads(artifact(client, run_id, "samples.json").read_bytes())
    assert table["columns"] == ["step", "topic", "said to it", "knowledge", "human reply", "its reply"]
    steps, topics, *said, replies = zip(*table["data"], strict=True)
    assert steps == (0,) * 4 + (2,) * 4 + (3,) * 4  # the start, and half and whole of an epoch of three steps
    assert len(set(topics[:4])) == 4
    assert all(column[:4] == column[4:8] == column[8:] for column in (topics, *said))
    assert all(len(reply) <= 4 for reply in replies)  # tokens, which are bytes here
    assert found.metrics["system/cpu_utilization_percentage"] >= 0
    assert client.get_run(run_id).info.run_name == "tiny qlora r12 nf4"


def test_the_description_leads_to_what_is_there(client: MlflowClient, run_id: str) -> None:
    found = client.get_run(run_id)
    said = found.data.tags["mlflow.note.content"]
    assert said.startswith("Trains **LoRA of rank 12 on all linear layers** on **tiny (NF4")
    ppl = found.data.metrics["wow_mini_seen/ppl"]
    assert f"{ppl:.2f} [" in next(line for line in said.splitlines() if line.startswith("| perplexity |"))
    place = f"#/experiments/{found.info.experiment_id}/runs/{run_id}/artifacts/"
    linked = [link.removeprefix(place) for link in re.findall(r"\]\(([^)]*)\)", said)]
    assert len(linked) == 6  # all but confusion matrices, version and sweep
    assert [path for path in linked if not artifact(client, run_id, path).exists()] == []


def test_nothing_is_large(client: MlflowClient, run_id: str) -> None:
    """The adapter apart, which is what was asked for."""
    folder = artifact(client, run_id, ".")
    files = {file: file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    assert len(files) > 10
    kept = {file: size for file, size in files.items() if folder / "adapter" not in file.parents}
    assert max(kept.values()) < 5_000_000
    tags = client.get_run(run_id).data.tags
    assert max(map(len, tags.values())) < 5_000  # MLflow's limit, on some stores


def test_a_fresh_process_gives_the_same_logits(client: MlflowClient, folder: Path, run_id: str, tmp_path: Path) -> None:
    uri, ids, out = f"runs:/{run_id}/adapter", tmp_path / "ids.pt", tmp_path / "logits.pt"
    torch.set_num_threads(1)
    here = load_adapter(uri, tracking_uri=store(folder), accelerator="cpu")
    example = Example("0", "0", (("apprentice", "Do you know the Ford Mustang?"),), "Yes.")
    torch.save(torch.tensor([encode(example, here.recipe.prompt, here.tokenizer, 256).input_ids]), ids)
    command = [sys.executable, "-c", LOGITS, uri, store(folder), str(ids), str(out)]
    subprocess.run(command, cwd=tmp_path, check=True)
    with torch.inference_mode():
        expected = here.model(input_ids=torch.load(ids, weights_only=True)).logits
    assert torch.equal(torch.load(out, weights_only=True), expected)
    assert isinstance(here.reply(["Do you know the Ford Mustang?"], ["It is a car."]), str)


def test_evaluate_scores_base_and_adapter(client: MlflowClient, folder: Path, run_id: str) -> None:
    systems = f"systems=[base,runs:/{run_id}/adapter]"
    small = "model=tiny quantization=nf4 data.limit_test=8 data.max_length=256 evaluation.max_new_tokens=4"
    overrides = f"{small} {systems} suite=wow_mini_unseen evaluation.resamples=50"
    done = done_here("evaluate.py", arguments("evaluate.py", overrides, folder), folder)
    assert done.returncode == 0, done.stderr
    assert "wow_mini_unseen, gold knowledge" in done.stdout
    assert f"runs:/{run_id}/adapter: 8 turns" in done.stdout
    (found,) = (one for one in runs_of(client) if "systems" in one.data.params)
    scored = {name: value for name, value in found.data.metrics.items() if name.endswith("/ppl")}
    assert len(scored) == 2
    assert scored["wow_mini_unseen/base/ppl"] > 1
    assert any(run_id in name for name in scored)


def test_an_unknown_adapter_is_one_line(folder: Path) -> None:
    for uri in ("models:/nothing@candidate", "runs:/0/adapter", "/nowhere"):
        with pytest.raises(InputError, match=r"not found in|nor a folder"):
            adapter_folder(uri, store(folder))


def test_a_sweep_over_packed_rows_goes_on_behind_a_bad_job(tmp_path: Path) -> None:
    packed = "packing=bestfit packing.length=512 trainer.batch_size=1"
    overrides = f"-m {TINY} {packed} tracking.register_as=null evaluation.base=false peft.r=0,2"
    done = done_here("train.py", arguments("train.py", overrides, tmp_path), tmp_path)
    assert done.returncode == 2
    assert "error: config: peft.r=0: input should be greater than 0" in done.stderr
    assert "4,096 parameters" in done.stdout
