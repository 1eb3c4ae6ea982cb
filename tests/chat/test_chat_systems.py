"""Systems on a shared base: each speaks as it does alone, in whatever order they are loaded and asked."""

import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from wikillama.chat.systems import Systems
from wikillama.config.chat import BASE
from wikillama.errors import InputError
from wikillama.tracking.loading import load_adapter

ASKED = ["Do you like tea?"]
FACTS = ["Tea is made from leaves."]


@pytest.fixture(scope="module")
def alone(place: Path, chat_config: Callable[..., Any]) -> dict[str, str]:
    """The reply of each system that nothing else shares a base with."""
    cfg = chat_config()
    replies = {
        name: load_adapter(f"{place}/{name}", cache_dir=cfg.cache_dir).reply(ASKED, FACTS, max_new_tokens=24)
        for name in ("first", "second")
    }
    return replies | {BASE: "".join(Systems(cfg).speaker(BASE).stream(ASKED, FACTS, max_new_tokens=24))}


def named(place: Path, name: str) -> str:
    return name if name == BASE else f"{place}/{name}"


def test_each_speaks_as_it_does_alone(place: Path, chat_config: Callable[..., Any], alone: dict[str, str]) -> None:
    assert len(set(alone.values())) == 3
    for order in itertools.permutations(alone):
        systems = Systems(chat_config())
        for name in (*order, *order):
            made = systems.speaker(named(place, name)).stream(ASKED, FACTS, max_new_tokens=24)
            assert "".join(made) == alone[name], (order, name)
        assert len(systems._bases) == 1


def test_four_bits_are_shared_too(place: Path, chat_config: Callable[..., Any]) -> None:
    cfg = chat_config("quantization=nf4")
    alone = load_adapter(f"{place}/packed", cache_dir=cfg.cache_dir).reply(ASKED, FACTS, max_new_tokens=24)
    systems = Systems(cfg)
    base = "".join(systems.speaker(BASE).stream(ASKED, FACTS, max_new_tokens=24))
    assert "".join(systems.speaker(named(place, "packed")).stream(ASKED, FACTS, max_new_tokens=24)) == alone != base
    assert "".join(systems.speaker(BASE).stream(ASKED, FACTS, max_new_tokens=24)) == base
    assert len(systems._bases) == 1
    "".join(systems.speaker(named(place, "first")).stream(ASKED))
    assert len(systems._bases) == 2  # that adapter was trained on a base that is not quantized


@pytest.mark.parametrize("before", [BASE, "second"])
def test_an_adapter_that_fails_changes_nobody(
    place: Path, chat_config: Callable[..., Any], tmp_path: Path, alone: dict[str, str], before: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(place / "first", broken)
    tensors = load_file(broken / "adapter_model.safetensors")
    del tensors[min(tensors)]
    save_file(tensors, broken / "adapter_model.safetensors")
    settings = broken / "adapter_config.json"
    settings.write_text(settings.read_text().replace('"lora_alpha": 16', '"lora_alpha": 128'))
    recipe = broken / "wikillama.json"
    recipe.write_text(re.sub(r'"weights_sha256": \{[^}]*\}', '"weights_sha256": null', recipe.read_text()))
    systems = Systems(chat_config())
    assert "".join(systems.speaker(named(place, before)).stream(ASKED, FACTS, max_new_tokens=24)) == alone[before]
    with pytest.raises(InputError, match="tensors are missing"):
        "".join(systems.speaker(str(broken)).stream(ASKED))
    for name in (before, "first", BASE):
        assert "".join(systems.speaker(named(place, name)).stream(ASKED, FACTS, max_new_tokens=24)) == alone[name]


def test_a_base_that_nobody_asks_goes(place: Path, chat_config: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr("wikillama.chat.systems._BASES", 1)
    systems = Systems(chat_config("quantization=nf4"))
    before = "".join(systems.speaker(BASE).stream(ASKED))
    "".join(systems.speaker(named(place, "first")).stream(ASKED))
    assert len(systems._bases) == 1
    assert "".join(systems.speaker(BASE).stream(ASKED)) == before


def test_loading_waits_its_turn_and_is_told(place: Path, chat_config: Callable[..., Any]) -> None:
    systems = Systems(chat_config())
    systems.load(named(place, "first"))
    stream = systems.speaker(named(place, "second")).stream(ASKED)
    seen = set()
    while not stream.ready(0.001):
        seen.add((systems.loading or "").rpartition("/")[2])
    assert {"first", "second"} <= seen
    assert "".join(stream)
    assert systems.loading is None
    assert stream.stats is not None
    assert stream.stats.waited_s > 0


def test_what_cannot_be_had_is_said(place: Path, chat_config: Callable[..., Any]) -> None:
    systems = Systems(chat_config())
    with pytest.raises(InputError, match="neither models:/"):
        systems.load("no/such/adapter")
    with pytest.raises(InputError, match="max_new_tokens=9999"):
        "".join(systems.speaker(BASE).stream(ASKED, max_new_tokens=9999))
    assert "".join(systems.speaker(BASE).stream(ASKED, max_new_tokens=4))  # and goes on


def test_a_base_with_other_weights_is_refused_unless_wanted(
    place: Path, compose: Callable[..., Any], chat_config: Callable[..., Any], tmp_path: Path
) -> None:
    moved = tmp_path / "other"
    moved.mkdir()
    for file in (place / "first").iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    recipe = moved / "wikillama.json"
    recipe.write_text(recipe.read_text().replace('"base_weights_hash": "', '"base_weights_hash": "0'))
    with pytest.raises(InputError, match="but the base here has"):
        Systems(chat_config()).load(str(moved))
    assert "".join(Systems(chat_config("strict_base=false")).speaker(str(moved)).stream(ASKED))
