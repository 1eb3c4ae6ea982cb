"""An adapter as a folder that others can load: PEFT, the Hub, vLLM, and this project again."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wikillama.errors import InputError
from wikillama.model.recipe import Recipe
from wikillama.tracking.registry.card import folder_card, front_matter
from wikillama.tracking.registry.folder import new_folder
from wikillama.tracking.registry.versions import Version
from wikillama.tracking.registry.vllm import obstacles, serve_command

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # PEFT's own names
TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder that was written, its base as it names it, and how vLLM serves it; `obstacles`: why it would not."""

    folder: Path
    base: str
    command: str
    obstacles: tuple[str, ...]


def export(
    source: Path, out: Path, named: Version, recipe: Recipe, tags: Mapping[str, str], params: Mapping[str, str]
) -> Exported:
    """Write the adapter in `source` to `out`, whole or not at all.

    Its base is named as the Hub knows it, where it does. Raises InputError for weights that are no adapter, and for a
    place that holds something already.
    """
    if recipe.peft.method == "none":
        raise InputError(f"version={named.number}: a whole model, not an adapter: use merge, which writes one")
    recipe.check_weights(source)
    base = hub_base(recipe)
    with new_folder(out) as folder:
        for name in (WEIGHTS, *TOKENIZER):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        config = write_config(source, folder, base, recipe.model.revision if recipe.model.hub_id else None)
        for_others(recipe).write(folder)
        usage = _usage(recipe, config, named.name)
        front = front_matter(recipe, "peft", "adapter")
        card = folder_card(f"{named.name}, version {named.number}", front, usage, tags, params, recipe)
        (folder / "README.md").write_text(card, encoding="utf-8")
    command = serve_command(config, base_place(recipe), str(out), named.name)
    return Exported(out, base, command, tuple(_obstacles(recipe, config)))


def write_config(source: Path, folder: Path, base: str, revision: str | None) -> dict[str, Any]:
    """Write the adapter_config.json of `source` to `folder`, laid out as PEFT does, for another name of its base."""
    config: dict[str, Any] = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base, "revision": revision}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    return config


def hub_base(recipe: Recipe) -> str:
    """The base as others can load it; where the Hub has none such, our own name for it."""
    return recipe.model.hub_id or recipe.base_id


def base_place(recipe: Recipe) -> str:
    """What vLLM is given as the model: an id on the Hub, or the folder on this machine."""
    return recipe.model.hub_id or recipe.model.path or recipe.base_id


def for_others(recipe: Recipe) -> Recipe:
    """The recipe without places on this machine, where the Hub has what they hold."""
    if recipe.model.hub_id is None or recipe.model.wheel is not None:
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": None, "tokenizer": None})})


def _usage(recipe: Recipe, config: Mapping[str, Any], name: str) -> str:
    base = recipe.model.hub_id or "BASE"  # a folder of the reader's, which the Hub cannot name
    plain = 'AutoPeftModelForCausalLM.from_pretrained("FOLDER")'
    if recipe.model.hub_id is None:
        plain = 'PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE"), "FOLDER")'
    no = _obstacles(recipe, config)
    served = serve_command(config, base, "FOLDER", name)
    return f"""\
## How to load it

```python
from wikillama import load_adapter  # quantized and prompted as wikillama.json says
load_adapter("FOLDER").reply(["Do you know the Ford Mustang?"], ["Ford built the Mustang from 1964 on."])

from transformers import AutoModelForCausalLM  # on the base as it is, not quantized
from peft import AutoPeftModelForCausalLM, PeftModel
model = {plain}
```

```
python chat.py adapter=FOLDER
python evaluate.py systems='[base,FOLDER]' suite=qa200
{f"# vLLM cannot serve it: {'; '.join(no)}" if no else served}
```
"""


def _obstacles(recipe: Recipe, config: Mapping[str, Any]) -> list[str]:
    random = ["its base has random weights"] if recipe.model.weights == "random" else []
    return random + obstacles(config)
