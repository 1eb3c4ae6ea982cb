"""What an adapter needs, beside its weights, to be the same system again: base, quantization, prompt."""

from pathlib import Path

import torch
from pydantic import ValidationError

from wikillama.config.paths import portable
from wikillama.config.schema import KnowledgeConfig, ModelConfig, PeftConfig, PromptConfig, QuantizationConfig, Section
from wikillama.errors import InputError

_FILE = "wikillama.json"


class Recipe(Section):
    """Written beside the weights as wikillama.json; PEFT's adapter_config.json records none of it."""

    model: ModelConfig
    base_id: str
    base_weights_hash: str
    dtype: str  # in which the base computed, e.g. "float32"
    quantization: QuantizationConfig
    peft: PeftConfig
    knowledge: KnowledgeConfig
    prompt: PromptConfig
    max_length: int
    max_new_tokens: int

    @property
    def torch_dtype(self) -> torch.dtype:
        """`dtype` as torch names it."""
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    def write(self, folder: Path) -> None:
        (folder / _FILE).write_text(portable(self.model_dump_json(indent=2)) + "\n", encoding="utf-8")


def read_recipe(folder: Path) -> Recipe:
    """Raises InputError where there is none, or it is broken."""
    try:
        return Recipe.model_validate_json((folder / _FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder}: no {_FILE} there; is this an adapter that wikillama trained?") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / _FILE}: broken ({error})") from error
