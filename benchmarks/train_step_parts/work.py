"""The work that train_step.py measures: dialogues as long as Wizard of Wikipedia's, and one base model for all stacks.

The words are random, and so are the weights: speed and memory depend on shapes alone.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wikillama.data.batching import Batch, Collator, PackingCollator
from wikillama.data.encode import Encoded
from wikillama.data.hashing import file_sha256

Shape = dict[str, int]
LLAMA2_7B: Shape = {
    "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
}  # fmt: skip
TINY: Shape = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 4096,
}  # fmt: skip
# tokens of a dialogue: log-normal with mean 285, as prompt and reply of Wizard of Wikipedia are in Llama 2's tokens
LOG_MEAN, LOG_DEVIATION = 5.55, 0.45
SHORTEST, LONGEST = 48, 1024
DENSE_ROW = 2048
PAD, FIRST_WORD = 0, 3  # ids of the tokenizer below
LAYERS_A_FILE = 4


@dataclass(frozen=True, slots=True)
class Work:
    """A micro-batch, on the CPU: `tokens` go through a model that computes padding, `real` of them are no padding."""

    batch: Batch
    tokens: int
    real: int
    how: str


def row_of(setting: str) -> int | None:
    """The tokens of a packed setting's row, such as 8192 of "packed-8192"; None for "ragged". Raises ValueError."""
    if setting == "ragged":
        return None
    kind, _, tokens = setting.partition("-")
    if kind != "packed" or not tokens.isdigit() or int(tokens) % 8:
        raise ValueError(f"{setting!r} is no setting: ragged, or packed-N with N a multiple of 8")
    return int(tokens)


def dialogue_lengths(seed: int) -> Iterator[int]:
    """Tokens of one dialogue after the other."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        length = torch.exp(torch.randn((), generator=draw, dtype=torch.float64) * LOG_DEVIATION + LOG_MEAN)
        yield int(length.clamp(SHORTEST, LONGEST))


def dialogues(setting: str, seed: int, vocabulary: int, examples: int) -> list[Encoded]:
    """Dialogues of which every token but the first is a target: `examples` of them, or as many as fill the row."""
    row, lengths = row_of(setting), dialogue_lengths(seed)
    if row is None:
        chosen = [next(lengths) for _ in range(examples)]
    else:
        chosen, room = [], row
        while room:
            chosen.append(min(next(lengths), room))
            room -= chosen[-1]
    draw = torch.Generator().manual_seed(seed)
    return [Encoded(torch.randint(FIRST_WORD, vocabulary, (n,), generator=draw).tolist(), 0) for n in chosen]


def packed(made: list[Encoded]) -> Work:
    """One row of all dialogues."""
    return _counted(PackingCollator(PAD)([made]), "one packed row")


def padded(made: list[Encoded]) -> Work:
    return _counted(Collator(PAD)(made), "padded")


def dense(tokens: int, seed: int, vocabulary: int) -> Work:
    """As many tokens in rows that are full, each a single text: what suits a stack best that cannot pack."""
    width = min(DENSE_ROW, tokens)
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(FIRST_WORD, vocabulary, (tokens // width, width), generator=draw)
    return Work({"input_ids": ids, "labels": ids.clone()}, ids.numel(), ids.numel(), f"dense rows of {width}")


def on_device(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _counted(batch: Batch, how: str) -> Work:
    return Work(batch, batch["input_ids"].numel(), int(batch["attention_mask"].sum()), how)


def product_weights(shape: Shape) -> int:
    """The weights that a token meets, each with two operations forward and two for the gradient of its input."""
    hidden, inner, size = shape["hidden_size"], shape["intermediate_size"], _head_size(shape)
    attention = hidden * size * (2 * shape["num_attention_heads"] + 2 * shape["num_key_value_heads"])
    return shape["num_hidden_layers"] * (attention + 3 * hidden * inner) + hidden * shape["vocab_size"]


def _head_size(shape: Shape) -> int:
    return shape["hidden_size"] // shape["num_attention_heads"]


def make_model(folder: Path, shape: Shape, device: torch.device) -> None:
    """Write a base model with random bfloat16 weights in Hugging Face layout; nothing, where the folder holds it.

    Weights are links to files named by their sha256, as in the hub's cache, so that loaders need not hash 13 GB again.
    Raises ValueError where the folder holds a model of another shape.
    """
    from transformers import LlamaConfig

    config_file = folder / "config.json"
    if config_file.is_file():
        found = json.loads(config_file.read_text(encoding="utf-8"))
        other = [key for key, value in shape.items() if found.get(key) != value]
        if other:
            raise ValueError(f"{folder} holds a model of another shape ({', '.join(other)}); name another folder")
        return
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    files = _files(shape)
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda name: _write(folder, name, files[name], device), files))
    index = {
        "metadata": {"total_size": sum(sizes)},
        "weight_map": {tensor: name for name, tensors in files.items() for tensor in tensors},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    _write_tokenizer(folder, shape["vocab_size"])
    sizes_of_parts: dict[str, Any] = dict(shape)
    LlamaConfig(
        **sizes_of_parts, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
        architectures=["LlamaForCausalLM"], dtype="bfloat16",
    ).save_pretrained(folder)  # fmt: skip


def _files(shape: Shape) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of all tensors by name, by file."""
    hidden, inner, vocabulary, size = (
        shape["hidden_size"],
        shape["intermediate_size"],
        shape["vocab_size"],
        _head_size(shape),
    )
    queries, keys = shape["num_attention_heads"] * size, shape["num_key_value_heads"] * size
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner), "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
    }  # fmt: skip
    ends: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,),
        "lm_head.weight": (vocabulary, hidden),
    }  # fmt: skip
    groups = [ends]
    for first in range(0, shape["num_hidden_layers"], LAYERS_A_FILE):
        numbers = range(first, min(first + LAYERS_A_FILE, shape["num_hidden_layers"]))
        groups.append({f"model.layers.{n}.{name}.weight": sizes for n in numbers for name, sizes in layer.items()})
    return {f"model-{i:05}-of-{len(groups):05}.safetensors": tensors for i, tensors in enumerate(groups, start=1)}


def _write(folder: Path, name: str, shapes: dict[str, tuple[int, ...]], device: torch.device) -> int:
    """Write one file of weights; its bytes."""
    from safetensors.torch import save_file

    draw = torch.Generator(device).manual_seed(int(name.split("-")[1]))
    tensors = {
        tensor: torch.ones(sizes, dtype=torch.bfloat16)
        if len(sizes) == 1
        else torch.randn(sizes, generator=draw, device=device, dtype=torch.bfloat16).mul_(0.02).cpu()
        for tensor, sizes in shapes.items()
    }
    half_done = folder / "blobs" / name
    save_file(tensors, half_done, metadata={"format": "pt"})
    digest = file_sha256(half_done)
    half_done.rename(half_done.with_name(digest))
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(Path("blobs") / digest)
    return sum(tensor.nbytes for tensor in tensors.values())


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A tokenizer of made-up words: no stack tokenizes here, but most will not load without one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": PAD, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(FIRST_WORD, vocabulary)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    ).save_pretrained(folder)
