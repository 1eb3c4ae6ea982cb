"""The measurement of memory: its machinery on a CPU, where nothing is measured."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from wikillama.config.paths import ROOT


def test_every_setting_and_budget_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    memory = importlib.import_module("memory")
    record = tmp_path / "memory.json"
    monkeypatch.setattr(sys, "argv", ["memory.py", "--models", "tiny", "--device", "cpu", "--record", str(record)])
    memory.main()
    rows = json.loads(record.read_text())["rows"]
    assert [(row["tokens"], row["kept"], row["offload"]) for row in rows[:3]] == [
        (256, None, False), (256, 0, False), (512, 0, True),
    ]  # fmt: skip
    assert rows[3]["budget_gb"] == 8.0
    assert all(row["kernels"] == "fused" and row["forecast_gb"] > 0 and row["tokens_per_s"] > 0 for row in rows)
    assert not any("measured_gb" in row for row in rows)
