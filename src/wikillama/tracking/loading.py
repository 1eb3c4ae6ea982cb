"""Loads a trained adapter as the system that it was: same base, quantization, prompt."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import torch

from wikillama.errors import InputError
from wikillama.generation.bot import Bot
from wikillama.model import adapters
from wikillama.model.base import base_weights_hash, device_of, load_base
from wikillama.model.quantization import check_backend
from wikillama.model.recipe import Recipe, read_recipe
from wikillama.tracking.locating import DEFAULT_STORE, adapter_folder, default_store

__all__ = ["DEFAULT_STORE", "FoundAdapter", "check_base", "find_adapter", "load_adapter"]

DEFAULT_CACHE = "~/.cache/wikillama"

log = logging.getLogger(__name__)


def load_adapter(
    uri: str,
    tracking_uri: str | None = None,
    accelerator: str = "auto",
    cache_dir: str | None = None,
    *,
    base_path: str | None = None,
    strict_base: bool = True,
) -> Bot:
    """Load `models:/name@alias`, `models:/name/3`, `runs:/id/adapter` or an adapter folder, from anywhere.

    The base is loaded and quantized as it was for training; `base_path` is its folder, where that has moved. Without
    `tracking_uri` the store is the one that MLFLOW_TRACKING_URI or `mlflow.set_tracking_uri` names, else that of
    train.py; without `cache_dir`, converted models are in WIKILLAMA_CACHE, else where train.py keeps them.

    Raises InputError where the adapter, its base or the quantization cannot be had, where the adapter is damaged, and
    where the base's weights are not those that it was trained on; with `strict_base=False` the last is a warning.
    """
    folder = adapter_folder(uri, tracking_uri or default_store())
    recipe = read_recipe(folder)
    recipe.check_weights(folder)
    model = recipe.model if base_path is None else recipe.model.model_copy(update={"path": base_path})
    cache = cache_dir or os.environ.get("WIKILLAMA_CACHE", DEFAULT_CACHE)
    base = load_base(model, recipe.quantization, device_of(accelerator), recipe.torch_dtype, cache)
    check_base(base.weights_hash, recipe, uri, strict_base)
    return Bot(adapters.load(base.model, folder), base.tokenizer, recipe)


class FoundAdapter(NamedTuple):
    """An adapter that would load here, and the hash of the base that it would be put onto."""

    folder: Path
    recipe: Recipe
    base_hash: str


def find_adapter(
    uri: str, tracking_uri: str, device: torch.device, cache_dir: str, strict_base: bool = True
) -> FoundAdapter:
    """Find and check an adapter without loading it. Raises InputError for what `load_adapter` would refuse.

    Without `strict_base`, another base is not remarked on: that is done when the adapter is loaded.
    """
    folder = adapter_folder(uri, tracking_uri)
    recipe = read_recipe(folder)
    recipe.check_weights(folder)
    base_hash = base_weights_hash(recipe.model, cache_dir)
    if strict_base:
        check_base(base_hash, recipe, uri)
    check_backend(recipe.quantization, device)
    return FoundAdapter(folder, recipe, base_hash)


def check_base(weights_hash: str, recipe: Recipe, uri: str, strict: bool = True) -> None:
    """Raises InputError where an adapter was trained on other weights; without `strict`, warns."""
    if weights_hash == recipe.base_weights_hash:
        return
    said = (
        f"{uri} was trained on {recipe.base_id} with weights {recipe.base_weights_hash[:12]}, "
        f"but the base here has {weights_hash[:12]}"
    )
    if strict:
        raise InputError(f"{said}: use the weights it was trained on, or strict_base=false to try these")
    log.warning("%s: its replies will not be those that were evaluated", said)
