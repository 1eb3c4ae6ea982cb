"""Loads a trained adapter as the system that it was: same base, quantization, prompt."""

from wikillama.errors import InputError
from wikillama.generation.bot import Bot
from wikillama.model import adapters
from wikillama.model.base import device_of, load_base
from wikillama.model.recipe import Recipe, read_recipe
from wikillama.tracking.registry import adapter_folder

DEFAULT_STORE = "sqlite:///mlruns/mlflow.db"
DEFAULT_CACHE = "~/.cache/wikillama"


def load_adapter(
    uri: str, tracking_uri: str = DEFAULT_STORE, accelerator: str = "auto", cache_dir: str = DEFAULT_CACHE
) -> Bot:
    """Load `models:/name@alias`, `models:/name/3`, `runs:/id/adapter` or an adapter folder.

    The base is loaded and quantized as it was for training. Raises InputError where the adapter or its base cannot be
    had, or where the base's weights are not those that the adapter was trained on.
    """
    folder = adapter_folder(uri, tracking_uri)
    recipe = read_recipe(folder)
    base = load_base(recipe.model, recipe.quantization, device_of(accelerator), recipe.torch_dtype, cache_dir)
    check_base(base.weights_hash, recipe, uri)
    return Bot(adapters.load(base.model, folder), base.tokenizer, recipe)


def check_base(weights_hash: str, recipe: Recipe, uri: str) -> None:
    """Raises InputError where an adapter was trained on other weights."""
    if weights_hash != recipe.base_weights_hash:
        raise InputError(
            f"{uri} was trained on {recipe.base_id} with weights {recipe.base_weights_hash[:12]}, "
            f"but the base here has {weights_hash[:12]}: use the weights it was trained on"
        )
