"""Packed rows of real dialogues for convergence.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerBase

from wikillama.config.paths import CONF
from wikillama.config.schema import DataConfig, KnowledgeConfig, PromptConfig
from wikillama.data.corpus import Split, load_examples
from wikillama.data.encode import Encoded, encode_all
from wikillama.data.packing import best_fit

Row = list[Encoded]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to learn from, rows of held-out turns, and how much that is."""

    train: list[Row]
    valid: list[Row]
    facts: dict[str, Any]


def read(place: Path, tokenizer: PreTrainedTokenizerBase, row_length: int, valid_turns: int) -> Rows:
    """Rows of replies with gold knowledge, from a folder of the original layout or a file of GODEL's.

    Whole dialogues of a single file are held out. Raises InputError for what cannot be read.
    """
    if place.is_dir():
        data = DataConfig(name=place.name, format="wow", path=str(place), holdout=0.1, limit_valid=valid_turns)
    else:
        fields = yaml.safe_load((CONF / "data" / "jsonl.yaml").read_text(encoding="utf-8"))["fields"]
        data = DataConfig(
            name=place.stem, format="jsonl", train=str(place), fields=fields, holdout=0.1, limit_valid=valid_turns
        )
    prompt = yaml.safe_load((CONF / "prompt" / "own.yaml").read_text(encoding="utf-8")) | {"template": "chatml"}
    train, valid = (_packed(data, split, prompt, tokenizer, row_length) for split in _SPLITS)
    tokens = [sum(len(e.input_ids) for row in rows for e in row) for rows in (train, valid)]
    targets = sum(len(e.input_ids) - e.prompt_length for row in train for e in row)
    return Rows(
        train, valid,
        {
            "row_length": row_length, "train_rows": len(train), "train_turns": sum(map(len, train)),
            "train_tokens": tokens[0], "train_target_tokens": targets, "valid_rows": len(valid),
            "valid_turns": sum(map(len, valid)), "valid_tokens": tokens[1],
        },
    )  # fmt: skip


_SPLITS: tuple[Split, Split] = ("train", "valid_seen")


def _packed(
    data: DataConfig, split: Split, prompt: dict[str, Any], tokenizer: PreTrainedTokenizerBase, row_length: int
) -> list[Row]:
    examples = load_examples(data, KnowledgeConfig(mode="gold", dropout=0.0), split)
    encoded = encode_all(examples, PromptConfig(**prompt), tokenizer, min(data.max_length, row_length))
    return [[encoded[i] for i in row] for row in best_fit([len(e.input_ids) for e in encoded], row_length)]
