"""Encodes examples as token ids and says which of them are the reply."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from rich.progress import track
from transformers import PreTrainedTokenizerBase

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example
from wikillama.data.prompt import messages, render
from wikillama.errors import InputError

IGNORED = -100  # the label of a token that carries no loss, as in torch and transformers

Cut = Literal["nothing", "history", "prompt"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of prompt and reply. The reply, its end token included, is `input_ids[prompt_length:]`."""

    input_ids: list[int]
    prompt_length: int
    cut: Cut = "nothing"  # what had to go so that the ids fit

    @property
    def labels(self) -> list[int]:
        """`input_ids` with all but the reply ignored: by position, never by looking at tokens."""
        return [IGNORED] * self.prompt_length + self.input_ids[self.prompt_length :]


def encode(
    example: Example, prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase, max_length: int, reply: bool = True
) -> Encoded:
    """Encode an example in at most `max_length` tokens; without `reply`, the prompt alone, to generate from.

    What does not fit is cut in this order: the oldest utterances of the history, then the start of what is left,
    behind the first token. The end of the reply is never cut.
    """
    cut: Cut = "nothing"
    encoded = _encode(example, prompt, tokenizer, reply)
    while len(encoded.input_ids) > max_length and len(example.history) > 1:
        example, cut = replace(example, history=example.history[1:]), "history"
        encoded = _encode(example, prompt, tokenizer, reply)
    excess = len(encoded.input_ids) - max_length
    if excess <= 0:
        return replace(encoded, cut=cut)
    kept = [encoded.input_ids[0], *encoded.input_ids[1 + excess :]]
    return Encoded(kept, max(1, encoded.prompt_length - excess), "prompt")


def _encode(example: Example, prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase, reply: bool) -> Encoded:
    ids: list[int] = []
    prompt_length = 0
    for piece in render(messages(example, prompt), prompt.template):
        if piece.control:
            ids.append(_control_id(piece.text, tokenizer))
            continue
        # without split_special_tokens an utterance that says "</s>" would end the reply
        text = tokenizer(piece.text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        if piece.reply_from is not None:
            starts = [start for start, _ in text["offset_mapping"]]
            before = next((i for i, start in enumerate(starts) if start >= piece.reply_from), len(starts))
            prompt_length = len(ids) + before
        ids += text["input_ids"]
    return Encoded(ids if reply else ids[:prompt_length], prompt_length)


def _control_id(token: str, tokenizer: PreTrainedTokenizerBase) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or found == tokenizer.unk_token_id:
        raise InputError(f"the tokenizer of this model has no {token}: choose another prompt= than the present one")
    assert isinstance(found, int)
    return found


def end_token_id(prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The id at which a reply ends in this format."""
    return _control_id("</s>" if prompt.template == "llama2_chat" else "<|im_end|>", tokenizer)


def encode_all(
    examples: Iterable[Example],
    prompt: PromptConfig,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    reply: bool = True,
    progress: str | None = None,
) -> list[Encoded]:
    """Encode many examples, with a progress bar where `progress` names one."""
    listed = list(examples)
    shown = track(listed, description=progress, transient=True) if progress else listed
    return [encode(example, prompt, tokenizer, max_length, reply) for example in shown]


def cuts(encoded: Iterable[Encoded]) -> dict[str, int]:
    """How many examples were cut, by what had to go."""
    counts = Counter(e.cut for e in encoded)
    return {cut: counts[cut] for cut in ("history", "prompt")}  # type: ignore[index]
