"""vLLM: ranks that it knows, and adapters that it cannot serve."""

import shlex

import pytest

from wikillama.tracking.registry.vllm import obstacles, serve_command


@pytest.mark.parametrize(("rank", "given"), [(1, 1), (4, 8), (12, 16), (16, 16), (64, 64), (257, 320), (512, 512)])
def test_the_next_rank_that_it_takes(rank: int, given: int) -> None:
    words = shlex.split(serve_command({"r": rank}, "meta-llama/Llama-2-7b-hf", "/out/x", "wiki-llama"))
    assert words == [
        "vllm", "serve", "meta-llama/Llama-2-7b-hf", "--enable-lora", "--max-lora-rank", str(given),
        "--lora-modules", "wiki-llama=/out/x",
    ]  # fmt: skip


def test_a_folder_with_a_space_stays_one_word() -> None:
    assert shlex.split(serve_command({"r": 8}, "/my base", "/my out", "w"))[-1] == "w=/my out"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"r": 12}, None),
        ({"r": 12, "use_rslora": True, "bias": "none", "modules_to_save": None, "rank_pattern": {}}, None),
        ({"r": 12, "use_dora": True}, "DoRA"),
        ({"r": 12, "modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 12, "bias": "lora_only"}, "biases"),
        ({"r": 12, "rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"r": 513}, "over its highest"),
    ],
)
def test_what_it_cannot_serve(config: dict[str, object], said: str | None) -> None:
    found = obstacles(config)
    assert len(found) == (said is not None)
    assert all(said in each for each in found if said)
