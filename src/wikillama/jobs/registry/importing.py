"""`import`: a LoRA adapter from elsewhere becomes a run and a registered version."""

import shutil
import tempfile
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from wikillama.config.registry import RegistryConfig
from wikillama.config.rules import check_peft
from wikillama.jobs.console import console
from wikillama.model.base import base_id, base_weights_hash, device_of, load_tokenizer_only, resolve_dtype
from wikillama.model.recipe import Recipe, read_recipe
from wikillama.tracking.loading import check_base
from wikillama.tracking.pyfunc import describe
from wikillama.tracking.registry import ADAPTER, Version, register
from wikillama.tracking.registry.export import TOKENIZER, WEIGHTS, write_config
from wikillama.tracking.registry.foreign import check_shapes, peft_of, read_lora
from wikillama.tracking.registry.tags import version_tags
from wikillama.tracking.run import open_client, tracked_run

RECIPE = "wikillama.json"


def import_adapter(cfg: RegistryConfig) -> Version:
    """Register the adapter in a folder, after it was checked against its base.

    With a wikillama.json, that says which base, quantization and prompt the adapter goes with, and `model.path` only
    where the base is here; without one, the configuration says it. Raises InputError for what is no LoRA adapter in
    safetensors, does not fit its base, or is for other weights than the base here has.
    """
    assert cfg.folder is not None  # `check_registry` saw to it
    open_client(cfg.tracking.uri)  # before anything is read: a store that is not there, and MLflow's narration
    given = Path(cfg.folder).expanduser()
    lora = read_lora(given)
    recipe = _own(cfg, given) if (given / RECIPE).is_file() else _from_config(cfg, given)
    check_shapes(given, lora, recipe.model)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / ADAPTER
        folder.mkdir()
        _fill(folder, given, recipe, cfg.cache_dir)
        tags = version_tags(recipe, folder, cfg.cache_dir, "import", None)
        with tracked_run(cfg.tracking, cfg, Path(HydraConfig.get().runtime.output_dir)) as run:
            run.tags({"wikillama.source": "import", "wikillama.base_model": recipe.base_id})
            run.artifacts(folder, ADAPTER)
            version = register(run, cfg.registered, cfg.tracking.alias, tags, recipe)
    alias = f", alias {version.alias}" if version.alias else ""
    console.print(f"registered    {version.name} version {version.number}{alias}   (run {run.id})")
    console.print(f"base          {recipe.base_id}, {tags['quantization']}, prompt {tags['prompt_template']}")
    uri = f"models:/{version.name}/{version.number}"
    console.print(f"next          python evaluate.py systems='[base,{uri}]' suite=qa200", markup=False, soft_wrap=True)
    return version


def _own(cfg: RegistryConfig, given: Path) -> Recipe:
    """The recipe that came with the adapter, with the base where it is on this machine."""
    recipe = read_recipe(given)
    recipe.check_weights(given)
    if cfg.model.path is not None:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": cfg.model.path})})
    check_base(base_weights_hash(recipe.model, cfg.cache_dir), recipe, f"folder={cfg.folder}")
    return recipe


def _from_config(cfg: RegistryConfig, given: Path) -> Recipe:
    peft = peft_of(given, read_lora(given), cfg.quantization)
    check_peft(peft, cfg.quantization)
    return Recipe(
        model=cfg.model,
        base_id=base_id(cfg.model),
        base_weights_hash=base_weights_hash(cfg.model, cfg.cache_dir),
        dtype=str(resolve_dtype(cfg.model, device_of(cfg.accelerator))).removeprefix("torch."),
        quantization=cfg.quantization,
        peft=peft,
        knowledge=cfg.knowledge,
        prompt=cfg.prompt,
        max_length=cfg.data.max_length,
        max_new_tokens=cfg.evaluation.max_new_tokens,
    )


def _fill(folder: Path, given: Path, recipe: Recipe, cache_dir: str) -> None:
    """The adapter as train.py would have written it: nothing else of the folder is taken over."""
    shutil.copyfile(given / WEIGHTS, folder / WEIGHTS)
    write_config(given, folder, recipe.base_id, None)
    if (given / RECIPE).is_file():
        for name in TOKENIZER:
            if (given / name).is_file():
                shutil.copyfile(given / name, folder / name)
    else:
        load_tokenizer_only(recipe.model, cache_dir).save_pretrained(folder)
    recipe.write(folder)
    describe(folder)
