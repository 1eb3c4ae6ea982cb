"""The tokenizer of a job, loaded only where there is something to encode."""

from functools import cache
from typing import TYPE_CHECKING

from wikillama.config.schema import ModelConfig
from wikillama.data.prepared import TokenizerSource
from wikillama.jobs.console import quiet_libraries
from wikillama.model.files import tokenizer_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_source(model: ModelConfig, cache_dir: str) -> TokenizerSource:
    @cache
    def load() -> "PreTrainedTokenizerBase":
        from wikillama.model.base import load_tokenizer_only

        quiet_libraries()
        return load_tokenizer_only(model, cache_dir)

    return TokenizerSource(tokenizer_fingerprint(model, cache_dir), load)
