"""A system is what decides on its answers, and is loaded only when something has to be asked of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import torch
from safetensors.torch import save_file

from wikillama.config.schema import QuantizationConfig
from wikillama.evaluation.system import System, fingerprint
from wikillama.model.base import load_base

NF4 = QuantizationConfig(type="nf4")


def adapter(folder: Path, weight: float = 1.0, config: str = '{"r": 8}') -> Path:
    folder.mkdir()
    save_file({"lora_A": torch.full((2, 2), weight)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(config)
    return folder


def test_it_differs_by_all_that_decides_on_answers(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one")
    prints = [
        fingerprint("base", torch.float32, NF4),
        fingerprint("another base", torch.float32, NF4),
        fingerprint("base", torch.bfloat16, NF4),
        fingerprint("base", torch.float32, QuantizationConfig(type="fp4")),
        fingerprint("base", torch.float32, QuantizationConfig(type="nf4", double_quant=True)),
        fingerprint("base", torch.float32, NF4, one),
        fingerprint("base", torch.float32, NF4, adapter(tmp_path / "other", weight=1.5)),
        fingerprint("base", torch.float32, NF4, adapter(tmp_path / "scaled", config='{"r": 8, "lora_alpha": 1}')),
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(found) == 24 for found in prints)


def test_it_does_not_differ_by_name_or_place(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one")
    copied = Path(shutil.copytree(one, tmp_path / "copied"))
    (copied / "README.md").write_text("a copy")
    assert fingerprint("base", torch.float32, NF4, copied) == fingerprint("base", torch.float32, NF4, one)


def test_systems_of_one_fingerprint_share_a_memory(system: Callable[..., System], tmp_path: Path) -> None:
    system("one").memory.put([("a", {"n": 1})])
    assert system("one").memory.get("a") == {"n": 1}
    assert system("two").memory.get("a") is None
    assert [file.name for file in (tmp_path / "cache" / "answers").iterdir()] == ["one.jsonl"]


def test_it_is_loaded_once_when_needed_and_again_after_it_was_let_go(
    system: Callable[..., System], tiny_base: Any
) -> None:
    loads: list[int] = []

    def load() -> Any:
        loads.append(1)
        return tiny_base.model.train()

    one = system("one", load=load)
    one.memory.put([("a", {"n": 1})])
    one.unload()  # there is nothing to let go of yet
    assert loads == []
    for _ in range(2):
        with one.awake() as model:
            assert model is tiny_base.model
            assert not model.training
    assert len(loads) == 1
    assert one.loaded.seconds >= 0
    one.unload()
    assert one.memory.get("a") == {"n": 1}
    with one.awake():
        assert len(loads) == 2


def test_awake_it_holds_unpacked_weights(system: Callable[..., System], compose: Callable[..., Any]) -> None:
    cfg = compose("model=tiny", "quantization=nf4", name="evaluate")
    base = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, cfg.cache_dir)

    def packed() -> int:
        return sum(isinstance(module, bnb.nn.Linear4bit) for module in base.model.modules())

    assert packed() == 14
    with system(load=lambda: base.model).awake():
        assert packed() == 0
    assert packed() == 14
