"""`merge`: a version as a whole model, its held-out loss measured before and after."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from peft import PeftModel
from rich.table import Table
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.registry import RegistryConfig
from wikillama.config.schema import ModelConfig, QuantizationConfig
from wikillama.data.corpus import load_examples
from wikillama.data.encode import Encoded, encode_all
from wikillama.data.locate import locate
from wikillama.evaluation.likelihood import Likelihood, likelihoods, ratio
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.system import System, fingerprint
from wikillama.jobs.console import Phases, bar, console, download_bar
from wikillama.jobs.tables import with_interval
from wikillama.model import adapters
from wikillama.model.base import device_of, load_base, load_tokenizer_only
from wikillama.model.files import weights_sha256
from wikillama.model.merge import merged, write_model
from wikillama.model.recipe import Recipe, read_recipe
from wikillama.tracking.loading import check_base
from wikillama.tracking.locating import adapter_folder
from wikillama.tracking.registry.card import folder_card, front_matter
from wikillama.tracking.registry.folder import new_folder
from wikillama.tracking.registry.versions import find_version, params_of
from wikillama.tracking.run import open_client, tracked_run

_UNQUANTIZED = QuantizationConfig(type="none")
_ROWS = {
    "before": "adapter on the base as it was trained",
    "unquantized": "adapter on the base unquantized",
    "merged": "merged, bfloat16",
}


@dataclass(frozen=True)
class _HeldOut:
    """The turns that the loss is measured on."""

    encoded: list[Encoded]
    dialogues: list[str]


def merge_version(cfg: RegistryConfig) -> dict[str, Estimate]:
    """Write the merged model and its losses, nats a token: before, unquantized, merged.

    All three compute in the version's own dtype, so that they differ by their weights alone. The losses are logged to a
    run of their own and to the version's. Raises InputError where the folder cannot be written, or the base here is
    another.
    """
    assert cfg.out is not None  # `check_registry` saw to it
    client = open_client(cfg.tracking.uri)
    version = find_version(client, cfg.registered, str(cfg.version))
    uri = f"models:/{version.name}/{version.version}"
    source = adapter_folder(uri, cfg.tracking.uri)
    recipe = read_recipe(source)
    out = Path(cfg.out).expanduser()
    phases = Phases()
    with new_folder(out) as folder, tracked_run(cfg.tracking, cfg, Path(HydraConfig.get().runtime.output_dir)) as run:
        run.tags({"wikillama.merged": uri})
        tokenizer = load_tokenizer_only(recipe.model, cfg.cache_dir)
        held_out = _held_out(cfg, recipe, tokenizer)
        losses: dict[str, list[Likelihood]] = {}
        with phases("before", f"{recipe.base_id}, {recipe.quantization.type}, with the adapter"):
            system = _system(cfg, recipe, tokenizer, recipe.quantization, source)
            losses["before"] = _losses(cfg, system, held_out)
            system.unload()
        with phases("merge", "into the unquantized base"):
            system = _system(cfg, recipe, tokenizer, _UNQUANTIZED, source)
            losses["unquantized"] = _losses(cfg, system, held_out)
            write_model(merged(system.loaded.model), tokenizer, folder)
            system.unload()
        with phases("after", "the merged model, read back"):
            losses["merged"] = _losses(cfg, _merged_system(cfg, recipe, tokenizer, folder), held_out)
        found = {name: _loss(cfg, each, held_out) for name, each in losses.items()}
        figures = {f"{cfg.suite.name}/merge/{name}_loss": estimate.value for name, estimate in found.items()}
        run.metrics(figures)
        if version.run_id:
            for key, value in figures.items():
                client.log_metric(version.run_id, key, value)
        named = f"{version.name}, version {version.version}, merged"
        front = front_matter(recipe, "transformers", "merge")
        usage = _usage(found, cfg, recipe.model.name)
        card = folder_card(named, front, usage, version.tags, params_of(client, version), recipe, merged=True)
        (folder / "README.md").write_text(card, encoding="utf-8")
    change = _change(cfg, losses["before"], losses["merged"], held_out)
    console.print(_table(cfg, found, change))
    console.print(f"written       {cfg.out}   (run {run.id})", soft_wrap=True)
    again = f"python evaluate.py systems='[base]' model={recipe.model.name} model.path={cfg.out} quantization=none"
    console.print(f"next          {again}", markup=False, soft_wrap=True)
    return found


def _held_out(cfg: RegistryConfig, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> _HeldOut:
    assert cfg.suite.split is not None  # `check_registry` saw to it
    with download_bar("corpus") as progress:
        located = locate(cfg.data, cfg.cache_dir, progress)
    examples = load_examples(located, cfg.knowledge, cfg.suite.split, cfg.seed)
    encoded = encode_all(examples, recipe.prompt, tokenizer, recipe.max_length)
    return _HeldOut(encoded, [example.dialogue_id for example in examples])


def _system(
    cfg: RegistryConfig,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    quantization: QuantizationConfig,
    adapter: Path,
) -> System:
    def load() -> PeftModel | LlamaForCausalLM:
        base = load_base(recipe.model, quantization, device_of(cfg.accelerator), recipe.torch_dtype, cfg.cache_dir)
        check_base(base.weights_hash, recipe, str(adapter))
        return adapters.load(base.model, adapter)

    mark = fingerprint(recipe.base_weights_hash, recipe.torch_dtype, quantization, adapter)
    return _asked(cfg, recipe, tokenizer, mark, load)


def _merged_system(cfg: RegistryConfig, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, folder: Path) -> System:
    there: ModelConfig = recipe.model.model_copy(
        update={"path": str(folder), "source": "hub", "weights": "pretrained", "tokenizer": None}
    )

    def load() -> LlamaForCausalLM:
        return load_base(there, _UNQUANTIZED, device_of(cfg.accelerator), recipe.torch_dtype, cfg.cache_dir).model

    return _asked(cfg, recipe, tokenizer, fingerprint(weights_sha256(folder), recipe.torch_dtype, _UNQUANTIZED), load)


def _asked(
    cfg: RegistryConfig,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    mark: str,
    load: Callable[[], PeftModel | LlamaForCausalLM],
) -> System:
    return System("merge", mark, tokenizer, recipe.prompt, recipe.max_length, load, cfg.cache_dir)


def _losses(cfg: RegistryConfig, system: System, held_out: _HeldOut) -> list[Likelihood]:
    return likelihoods(system, held_out.encoded, cfg.evaluation, bar("loss"))


def _loss(cfg: RegistryConfig, likely: list[Likelihood], held_out: _HeldOut) -> Estimate:
    nll, tokens = [each.nll for each in likely], [float(each.tokens) for each in likely]
    return ratio(nll, tokens, held_out.dialogues, cfg.evaluation.resamples)


def _change(cfg: RegistryConfig, before: list[Likelihood], after: list[Likelihood], held_out: _HeldOut) -> Estimate:
    """Of the loss by merging, with its interval over the same resampled dialogues."""
    moved = [b.nll - a.nll for a, b in zip(before, after, strict=True)]
    return ratio(moved, [float(each.tokens) for each in after], held_out.dialogues, cfg.evaluation.resamples)


def _table(cfg: RegistryConfig, found: dict[str, Estimate], change: Estimate) -> Table:
    title = f"{cfg.suite.name}, {cfg.knowledge.mode} knowledge, {found['merged'].n:,} turns"
    table = Table("", "loss (nats a token) [95 %]", title=title, title_justify="left")
    for name, label in _ROWS.items():
        table.add_row(label, with_interval(found[name], ".4f"))
    table.add_row("change by merging", with_interval(change, "+.4f"))
    return table


def _usage(found: dict[str, Estimate], cfg: RegistryConfig, model: str) -> str:
    rows = "\n".join(f"| {label} | {with_interval(found[name], '.4f')} |" for name, label in _ROWS.items())
    return f"""\
## Merged

The adapter is added to the unquantized base. Loss in nats a token over {found["merged"].n:,} turns of {cfg.suite.name}:

| | loss [95 %] |
| --- | --- |
{rows}

## How to load it

```python
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("FOLDER")
```

```
python evaluate.py systems='[base]' model={model} model.path=FOLDER quantization=none suite=qa200
vllm serve FOLDER
```
"""
