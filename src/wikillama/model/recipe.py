"""What an adapter needs, beside its weights, to be the same system again: base, quantization, prompt."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError

from wikillama.config.paths import portable
from wikillama.config.schema import KnowledgeConfig, ModelConfig, PeftConfig, PromptConfig, QuantizationConfig, Section
from wikillama.data.hashing import file_sha256
from wikillama.errors import InputError

_FILE = "wikillama.json"

log = logging.getLogger(__name__)


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
    weights_sha256: Mapping[str, str] | None = None  # by file; None: saved by an older version

    @property
    def torch_dtype(self) -> torch.dtype:
        """`dtype` as torch names it."""
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    def write(self, folder: Path) -> None:
        """Write it beside the weights, which are in `folder` already and whose hashes it takes."""
        hashes = {file.name: file_sha256(file) for file in sorted(folder.glob("*.safetensors"))}
        model = self.model.model_copy(
            update={"path": _anywhere(self.model.path), "tokenizer": _anywhere(self.model.tokenizer)}
        )
        recipe = self.model_copy(update={"model": model, "weights_sha256": hashes})
        (folder / _FILE).write_text(portable(recipe.model_dump_json(indent=2)) + "\n", encoding="utf-8")

    def check_weights(self, folder: Path) -> None:
        """Raises InputError where the weights in `folder` are not, to the bit, those that were saved.

        An adapter of an older version says nothing about them; it is taken as it is, with a warning.
        """
        if self.weights_sha256 is None:
            log.warning("%s: %s holds no hash of the weights, which are loaded unchecked", folder, _FILE)
            return
        for name, expected in self.weights_sha256.items():
            if not (folder / name).is_file():
                raise InputError(f"{folder}: {name} is missing; fetch the adapter again")
            found = file_sha256(folder / name)
            if found != expected:
                raise InputError(
                    f"{folder / name}: damaged or changed since it was saved (sha256 {found[:12]} instead of "
                    f"{expected[:12]}); fetch the adapter again, or where the change was meant, delete weights_sha256 "
                    f"from {_FILE}"
                )


def _anywhere(path: str | None) -> str | None:
    """A path that does not depend on the working directory."""
    return str(Path(path).expanduser().absolute()) if path is not None else None


def read_recipe(folder: Path) -> Recipe:
    """Raises InputError where there is none, or it is broken."""
    try:
        return Recipe.model_validate_json((folder / _FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder}: no {_FILE} there; is this an adapter that wikillama trained?") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / _FILE}: broken ({error})") from error
