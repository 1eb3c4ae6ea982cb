"""The recipe beside the weights: what it says of them, and places that do not depend on where one stands."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from wikillama.errors import InputError
from wikillama.model.recipe import Recipe, read_recipe

FILE = "adapter_model.safetensors"


@pytest.fixture
def recipe(compose: Callable[..., Any]) -> Callable[..., Recipe]:
    def build(*overrides: str) -> Recipe:
        cfg = compose("model=tiny", *overrides)
        return Recipe(
            model=cfg.model, base_id="random/tiny", base_weights_hash="0" * 64, dtype="float32",
            quantization=cfg.quantization, peft=cfg.peft, knowledge=cfg.knowledge, prompt=cfg.prompt,
            max_length=256, max_new_tokens=8,
        )  # fmt: skip

    return build


@pytest.fixture
def folder(tmp_path: Path, recipe: Callable[..., Recipe]) -> Path:
    save_file({"weight": torch.arange(1000.0)}, tmp_path / FILE)
    recipe().write(tmp_path)
    return tmp_path


def test_it_comes_back_with_the_hash_of_the_weights(folder: Path, recipe: Callable[..., Recipe]) -> None:
    found = read_recipe(folder)
    assert found.model_copy(update={"weights_sha256": None}) == recipe()
    assert found.weights_sha256 is not None
    assert [(name, len(digest)) for name, digest in found.weights_sha256.items()] == [(FILE, 64)]
    assert found.torch_dtype == torch.float32
    found.check_weights(folder)


@pytest.mark.parametrize("place", [0, 100, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_bit_is_noticed(folder: Path, place: int, bit: int) -> None:
    data = bytearray((folder / FILE).read_bytes())
    data[place] ^= 1 << bit
    (folder / FILE).write_bytes(data)
    with pytest.raises(InputError, match=r"damaged or changed since it was saved \(sha256 [0-9a-f]{12} instead of"):
        read_recipe(folder).check_weights(folder)


def test_so_is_a_file_that_is_cut_or_missing(folder: Path) -> None:
    recipe = read_recipe(folder)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged or changed"):
        recipe.check_weights(folder)
    (folder / FILE).unlink()
    with pytest.raises(InputError, match=f"{FILE} is missing"):
        recipe.check_weights(folder)


def test_weights_of_an_older_version_are_taken_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = read_recipe(folder).model_copy(update={"weights_sha256": None})
    (folder / "wikillama.json").write_text(old.model_dump_json(exclude={"weights_sha256"}))
    with caplog.at_level(logging.WARNING):
        read_recipe(folder).check_weights(folder)
    assert [record.message for record in caplog.records] == [
        f"{folder}: wikillama.json holds no hash of the weights, which are loaded unchecked"
    ]


def test_a_place_is_the_same_from_anywhere(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = Path.home()
    for given, expected in (("models/base", f"{tmp_path}/models/base"), ("~/base", f"{home}/base"), ("/a/b", "/a/b")):
        recipe(f"model.path='{given}'", "model.source=hub", "model.weights=pretrained").write(tmp_path)
        path = read_recipe(tmp_path).model.path
        assert path is not None
        assert str(Path(path).expanduser()) == expected
    assert str(home) + "/" not in (tmp_path / "wikillama.json").read_text() or str(home) == "/"
