"""Tags: what they say of a version, and that figures come back from them as they went in."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.evaluation.resampling import Estimate
from wikillama.tracking.facts import code_tags
from wikillama.tracking.registry.tags import (
    count_tags,
    counts_in,
    metric_tags,
    metrics_in,
    peft_name,
    read,
    version_tags,
    weights_mb,
    written,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"w" * 150_000)
    (tmp_path / "adapter_config.json").write_text("{}")
    return tmp_path


def test_a_version_says_what_it_is(recipe: Callable[..., Any], folder: Path) -> None:
    tags = version_tags(recipe("model=tiny", "peft=qlora"), folder, "/nowhere", "train", "abc")
    assert len(tags.pop("fingerprint")) == 24
    commit = tags.pop("git_commit", "")
    assert commit.startswith(code_tags().get("wikillama.git_commit", ""))
    assert tags == {
        "source": "train",
        "base_model": "random/tiny",
        "base_weights_hash": "b" * 64,
        "weights": "random",
        "quantization": "nf4 double",
        "prompt_template": "chatml",
        "tokenizer_fingerprint": "bytes",
        "knowledge": "gold",
        "peft": "qlora",
        "rank": "12",
        "target_modules": "all-linear",
        "size_mb": "0.1",
        "data_fingerprint": "abc",
    }


def test_other_weights_are_another_system(recipe: Callable[..., Any], folder: Path) -> None:
    def mark() -> str:
        return version_tags(recipe("model=tiny"), folder, "/nowhere", "train", None)["fingerprint"]

    before = mark()
    assert mark() == before
    (folder / "adapter_model.safetensors").write_bytes(b"x" * 150_000)
    assert mark() != before


def test_what_is_not_known_is_not_said(recipe: Callable[..., Any], folder: Path) -> None:
    tags = version_tags(recipe("model=tiny", "peft=none"), folder, "/nowhere", "import", None)
    assert "data_fingerprint" not in tags
    assert "rank" not in tags
    assert (tags["peft"], tags["quantization"], tags["target_modules"]) == ("none", "none", "all weights")


@pytest.mark.parametrize("peft", ["qlora", "lora", "dora", "rslora", "none"])
def test_methods_are_called_as_users_choose_them(recipe: Callable[..., Any], peft: str) -> None:
    assert peft_name(recipe("model=tiny", f"peft={peft}")) == peft


def test_a_quantized_dora_is_both(recipe: Callable[..., Any]) -> None:
    assert peft_name(recipe("model=tiny", "peft=qlora", "peft.use_dora=true")) == "qlora dora"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.42214, 0.345, 0.50399, 32), "0.4221 [0.3450, 0.5040] of 32"),
        (Estimate(2.0, math.nan, math.nan, 8), "2.0000 [nan, nan] of 8"),
    ],
)
def test_a_figure_comes_back_with_its_interval(estimate: Estimate, text: str) -> None:
    assert written(estimate) == text
    again = read(text)
    assert again is not None
    assert again.n == estimate.n
    assert (again.value, again.low, again.high) == pytest.approx(
        (estimate.value, estimate.low, estimate.high), abs=5e-5, nan_ok=True
    )


@pytest.mark.parametrize("text", ["", "0.42", "35", "0.4 [0.3, 0.5]", "nf4 double"])
def test_other_tags_are_no_figures(text: str) -> None:
    assert read(text) is None


def test_figures_are_kept_by_suite_and_knowledge() -> None:
    seen = {"f1": Estimate(0.5, 0.4, 0.6, 8), "ppl": Estimate(9.0, 8.0, 10.0, 8), "rouge_l": Estimate(0.1, 0, 1, 8)}
    tags = metric_tags("wow_seen", "gold", seen) | metric_tags("wow_seen", "none", {"f1": Estimate(0.2, 0.1, 0.3, 8)})
    tags |= count_tags("qa200", "gold", (7, 2, 1), "lexical-1") | {"rank": "12", "base_model": "a/b"}
    assert tags["wow_seen/f1"].startswith("0.5000 ")
    assert tags["wow_seen/none/f1"].startswith("0.2000 ")
    assert (tags["qa200/correct"], tags["qa200/judge"]) == ("7", "lexical-1")
    assert "wow_seen/rouge_l" not in tags
    assert metrics_in(tags) == {
        ("wow_seen", "gold"): {"f1": seen["f1"], "ppl": seen["ppl"]},
        ("wow_seen", "none"): {"f1": Estimate(0.2, 0.1, 0.3, 8)},
    }
    assert counts_in(tags) == {("qa200", "gold"): (7, 2, 1, "lexical-1")}


def test_size_is_of_the_weights_alone(folder: Path) -> None:
    assert weights_mb(folder) == 0.15
