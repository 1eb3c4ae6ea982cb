"""A version from training through export and import to a fresh process, and on to champion: the same to the bit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from wikillama.errors import InputError
from wikillama.tracking.registry.versions import find_version

# logits of a version, loaded where nothing of the training process is left
FRESH = """
import sys, torch
from wikillama import load_adapter
torch.set_num_threads(1)
bot = load_adapter(sys.argv[1], tracking_uri=sys.argv[2], accelerator="cpu")
with torch.inference_mode():
    torch.save(bot.model.eval()(input_ids=torch.arange(5, 105)[None]).logits, sys.argv[3])
"""


@pytest.fixture(scope="module")
def folder(place: Any) -> Path:
    return Path(place.folder) / "exported"


@pytest.fixture
def exported(registry: Callable[..., str], first: Any, folder: Path) -> Path:
    if not folder.exists():
        said = registry("export", "version=1", f"out={folder}")
        assert "adapter_model.safetensors" in said
        assert "--enable-lora --max-lora-rank 16 --lora-modules" in said
    return folder


@pytest.fixture
def imported(registry: Callable[..., str], exported: Path, place: Any) -> Any:
    """Version 2: version 1 after its travels."""
    try:
        return find_version(place.client, "wiki-llama", "2")
    except InputError:
        said = registry("import", f"folder={exported}")
        assert "registered    wiki-llama version 2, alias candidate" in said
        return find_version(place.client, "wiki-llama", "2")


def test_the_version_says_what_it_is(place: Any, first: Any) -> None:
    tags = find_version(place.client, "wiki-llama", "1").tags
    assert (tags["source"], tags["peft"], tags["rank"], tags["quantization"]) == ("train", "qlora", "12", "nf4 double")
    run = place.client.get_run(first.trained.run_id)
    assert tags["data_fingerprint"] == run.data.tags["wikillama.data_fingerprint"]
    assert len(tags["tokenizer_fingerprint"]) == 64
    f1 = run.data.metrics["wow_mini_seen/f1"]
    assert tags["wow_mini_seen/f1"].startswith(f"{f1:.4f} [")
    counts = [int(tags[f"qa200/{label}"]) for label in ("correct", "wrong", "ambiguous")]
    assert sum(counts) == 10
    assert counts[0] == run.data.metrics["qa200/correct"]
    assert tags["qa200/judge"].startswith("lexical-")


def test_a_fresh_process_computes_the_same(imported: Any, first: Any, place: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRESH, "models:/wiki-llama/2", place.store, "logits.pt"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "logits.pt", weights_only=True)
    assert theirs.shape == first.logits.shape
    assert float((theirs - first.logits).abs().max()) == 0.0


def test_an_import_is_a_run_and_a_version(imported: Any, place: Any) -> None:
    assert imported.tags["source"] == "import"
    run = place.client.get_run(imported.run_id)
    assert (run.info.status, run.data.tags["wikillama.source"]) == ("FINISHED", "import")
    held = {entry.path for entry in place.client.list_artifacts(imported.run_id, "adapter")}
    assert {"adapter/adapter_model.safetensors", "adapter/wikillama.json", "adapter/tokenizer.json"} <= held
    one = find_version(place.client, "wiki-llama", "1")
    for tag in ("fingerprint", "base_weights_hash", "tokenizer_fingerprint", "quantization", "rank", "size_mb"):
        assert imported.tags[tag] == one.tags[tag]


def test_it_is_promoted_by_what_its_weights_were_asked(registry: Callable[..., str], imported: Any, place: Any) -> None:
    said = registry("promote", "version=1", "alias=champion")
    assert "wiki-llama version 1 is champion now" in said
    assert "is champion already" in registry("promote", "version=1", "alias=champion")
    said = registry("promote", "version=2", "alias=champion")
    assert "version 2 minus version 1, champion so far" in said
    assert "wiki-llama version 2 is champion now; version 1 before" in said
    tags = find_version(place.client, "wiki-llama", "@champion").tags
    assert (tags["promoted_over"], "qa200/correct" in tags) == ("1", True)


def test_the_list_and_a_version_are_shown(registry: Callable[..., str], imported: Any) -> None:
    listed = registry("list")
    for said in ("version", "quantization", "local/base", "nf4 double", "qlora 12", "wow_mini_seen: F1", "candidate"):
        assert said in listed
    shown = registry("show", "version=@candidate")
    for said in (
        "wiki-llama 2",
        "source ",
        "A LoRA adapter that tunes local/base",
        "| Training | not recorded: imported |",
    ):
        assert said in shown
    assert "optimizer adamw, lr 0.01" in registry("show", "version=1")


def test_what_was_exported_is_not_written_over(registry: Callable[..., str], exported: Path) -> None:
    with pytest.raises(InputError, match="there is something already"):
        registry("export", "version=1", f"out={exported}")


def test_an_import_on_other_weights_is_refused(
    registry: Callable[..., str], exported: Path, place: Any, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(place.folder / "base")
    model.lm_head.weight.data += 1
    model.save_pretrained(tmp_path / "base")
    before = find_version(place.client, "wiki-llama", "@candidate").version
    with pytest.raises(InputError, match="use the weights it was trained on"):
        registry("import", f"folder={exported}", f"model.path={tmp_path}/base")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in exported.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    data = bytearray((damaged / "adapter_model.safetensors").read_bytes())
    data[-1] ^= 1
    (damaged / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="damaged or changed"):
        registry("import", f"folder={damaged}")
    assert find_version(place.client, "wiki-llama", "@candidate").version == before


def test_an_adapter_of_someone_else_is_registered(
    registry: Callable[..., str], place: Any, first: Any, tmp_path: Path
) -> None:
    """Without wikillama.json: base, quantization and prompt are those of the command."""
    model = AutoModelForCausalLM.from_pretrained(place.folder / "base")
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"])).save_pretrained(tmp_path)
    said = registry(
        "import", f"folder={tmp_path}", *place.base, "quantization=none", "tracking.register_as=theirs",
        "tracking.alias=null", "prompt=llama2_chat",
    )  # fmt: skip
    assert "registered    theirs version 1 " in said
    version = find_version(place.client, "theirs", "1")
    tags = version.tags
    assert (tags["peft"], tags["rank"], tags["quantization"], tags["target_modules"]) == ("lora", "4", "none", "q_proj")
    assert (tags["prompt_template"], tags["base_model"]) == ("llama2_chat", "local/base")
    file = place.client.download_artifacts(version.run_id, "adapter/adapter_config.json", str(tmp_path))
    assert json.loads(Path(file).read_text())["base_model_name_or_path"] == "local/base"
    assert "| Training | not recorded: imported |" in (version.description or "")
