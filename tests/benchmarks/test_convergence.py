"""The comparison of what kernels learn: its machinery on a CPU, with a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from wikillama.config.paths import ROOT


def test_kernels_seeds_and_parities_are_in_the_record(tmp_path: Path, byte_tokenizer: Any) -> None:
    folder, record = tmp_path / "model", tmp_path / "convergence.json"
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    byte_tokenizer.save_pretrained(folder)
    command = [
        sys.executable, "benchmarks/convergence.py", "--device", "cpu", "--model", str(folder), "--steps", "3",
        "--seeds", "0,1", "--kernels", "reference,fused", "--row", "2048", "--valid", "4", "--jobs", "2",
        "--record", str(record),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(record.read_text())
    assert [(run["kernels"], run["seed"]) for run in found["runs"]] == [
        ("reference", 0), ("fused", 0), ("reference again", 0), ("reference", 1), ("fused", 1),
    ]  # fmt: skip
    assert all(len(run["curve"]) == 3 and run["validation_loss"] > 0 for run in found["runs"])
    gaps = found["compared"]["validation_loss"]["less_reference_at_same_seed"]
    assert set(gaps) == {"fused", "reference again"}
    assert abs(gaps["fused"]["1"]) < 1e-4
    for parity in found["parity"].values():
        assert abs(parity["fused"]["loss_relative_to_reference"]) < 1e-6
        assert parity["fused"]["gradient_from_float32"] < 1e-4
    assert found["parity"].keys() == {"fresh adapters", "adapters of 3 steps"}
    assert found["data"]["train_turns"] > 0
    assert record.with_suffix(".png").stat().st_size > 10_000
