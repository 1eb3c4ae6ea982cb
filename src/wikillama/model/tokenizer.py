"""Loads the tokenizer of a base model."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

from wikillama.errors import InputError

_CONTROLS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def load_tokenizer(place: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, or in a SentencePiece file; its pad token is never its end token.

    Padding with the end token would hide from training that replies end. Raises InputError where nothing can be read.
    """
    spm = place if place.is_file() else place / "tokenizer.model"
    if place.is_dir() and (place / "tokenizer.json").is_file():
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(place))
        except (OSError, ValueError) as error:
            raise InputError(f"{place}: its tokenizer cannot be read ({error})") from error
    elif spm.is_file():
        tokenizer = _from_sentencepiece(spm)
    else:
        raise InputError(f"{place}: no tokenizer.json and no tokenizer.model there; give model.tokenizer=")
    if tokenizer.unk_token_id is not None:
        tokenizer.pad_token = tokenizer.unk_token
    elif tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise InputError(f"{place}: the tokenizer has neither <unk> nor a pad token of its own; add one")
    return tokenizer


def _from_sentencepiece(path: Path) -> PreTrainedTokenizerBase:
    """Llama's tokenizer.model as a fast tokenizer.

    transformers 5.23 orders the merges of a lone tokenizer.model by id and so splits runs of spaces otherwise than
    SentencePiece does; ordering them by score, as its own helper can, gives SentencePiece's ids.
    """
    import sentencepiece

    try:
        sp = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: not a SentencePiece model ({error})") from error
    pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    scores = {piece: sp.get_score(i) for i, piece in enumerate(pieces)}
    return LlamaTokenizer(vocab=vocab, merges=generate_merges(vocab, scores))


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of single bytes (261 ids), for models with random weights, where no vocabulary means anything."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*_CONTROLS, *letters])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
        additional_special_tokens=_CONTROLS[3:],
    )
