"""A system under test: a base or an adapter with its prompt, loaded only when something has to be asked of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.schema import PromptConfig, QuantizationConfig
from wikillama.data.hashing import file_sha256
from wikillama.evaluation.memory import Memory, key_of
from wikillama.model.dense import dense_weights

Model = PeftModel | LlamaForCausalLM


class System:
    """`fingerprint` tells systems apart that would answer otherwise; `memory` holds what this one has answered."""

    def __init__(
        self,
        name: str,
        fingerprint: str,
        tokenizer: PreTrainedTokenizerBase,
        prompt: PromptConfig,
        max_length: int,
        load: Callable[[], Model],
        cache_dir: str,
        adapter_mb: float | None = None,
    ) -> None:
        self.name, self.fingerprint, self.tokenizer = name, fingerprint, tokenizer
        self.prompt, self.max_length, self._load, self.adapter_mb = prompt, max_length, load, adapter_mb
        self.memory = Memory(Path(cache_dir).expanduser() / "answers" / f"{fingerprint}.jsonl")

    @cached_property
    def loaded(self) -> "Loaded":
        started = time.perf_counter()
        model = self._load()
        model.eval()
        return Loaded(model, time.perf_counter() - started)

    @contextmanager
    def awake(self) -> Iterator[Model]:
        """The model, in the form in which it answers fastest while the context lasts."""
        with dense_weights(self.loaded.model):
            yield self.loaded.model

    def unload(self) -> None:
        """Let go of the model; what was remembered stays."""
        self.__dict__.pop("loaded", None)


@dataclass(frozen=True)
class Loaded:
    """A model and the seconds that loading it took."""

    model: Model
    seconds: float


def fingerprint(
    base_weights_hash: str, dtype: torch.dtype, quantization: QuantizationConfig, adapter: Path | None = None
) -> str:
    """A hash of all that decides on a system's arithmetic: base, dtype, quantization, and the adapter's weights."""
    files = sorted(adapter.glob("*.safetensors")) + sorted(adapter.glob("adapter_config.json")) if adapter else []
    hashes = [[file.name, file_sha256(file)] for file in files]
    return key_of(base_weights_hash, str(dtype), quantization.model_dump(), hashes)
