"""Encodes examples as token ids and says which of them are the reply."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example
from wikillama.data.prompt import Message, Piece, messages, render
from wikillama.errors import InputError

if TYPE_CHECKING:  # takes seconds, and a corpus that is in the cache needs no tokenizer
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token that carries no loss, as in torch and transformers
_BATCH = 1024  # examples tokenized together, by all cores

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


class Encoder:
    """Encodes examples in at most `max_length` tokens; without `reply`, their prompts alone, to generate from.

    What does not fit is cut in this order: the oldest utterances of the history, then the start of what is left,
    behind the first token. The end of the reply is never cut.

    A dialogue's utterances stand in the prompt of each of its later replies. Pieces of text that one call sees twice
    are tokenized once.
    """

    def __init__(
        self, prompt: PromptConfig, tokenizer: "PreTrainedTokenizerBase", max_length: int, reply: bool = True
    ) -> None:
        self.prompt, self.tokenizer, self.max_length, self.reply = prompt, tokenizer, max_length, reply
        self._known: dict[tuple[str, int | None], tuple[list[int], int]] = {}

    def __call__(
        self, examples: Sequence[Example], conversations: Sequence[list[Message]] | None = None
    ) -> list[Encoded]:
        """Encode examples, whose chat messages may be given."""
        self._known = {}
        made = conversations or [messages(example, self.prompt) for example in examples]
        rendered = [render(conversation, self.prompt.template) for conversation in made]
        self._learn(piece for pieces in rendered for piece in pieces)
        return [self._fitted(example, pieces) for example, pieces in zip(examples, rendered, strict=True)]

    def _fitted(self, example: Example, pieces: list[Piece]) -> Encoded:
        cut: Cut = "nothing"
        encoded = self._joined(pieces)
        while len(encoded.input_ids) > self.max_length and len(example.history) > 1:
            example, cut = replace(example, history=example.history[1:]), "history"
            pieces = render(messages(example, self.prompt), self.prompt.template)
            self._learn(pieces)
            encoded = self._joined(pieces)
        excess = len(encoded.input_ids) - self.max_length
        if excess <= 0:
            return replace(encoded, cut=cut)
        kept = [encoded.input_ids[0], *encoded.input_ids[1 + excess :]]
        return Encoded(kept, max(1, encoded.prompt_length - excess), "prompt")

    def _learn(self, pieces: Iterable[Piece]) -> None:
        """Tokenize what is not known yet; of a piece with the reply, also find the reply's first token."""
        new = {(p.text, p.reply_from): p for p in pieces if (p.text, p.reply_from) not in self._known}
        for piece in [p for p in new.values() if p.control]:
            self._known[piece.text, None] = [control_id(piece.text, self.tokenizer)], 0
        for with_reply in (False, True):
            keys = [key for key, p in new.items() if not p.control and (key[1] is not None) == with_reply]
            if not keys:
                continue
            # without split_special_tokens an utterance that says "</s>" would end the reply
            made = self.tokenizer(
                [text for text, _ in keys],
                add_special_tokens=False,
                split_special_tokens=True,
                return_attention_mask=False,
                return_offsets_mapping=with_reply,
            )
            for number, (key, ids) in enumerate(zip(keys, made["input_ids"], strict=True)):
                before = 0
                if with_reply:
                    starts = (start for start, _ in made["offset_mapping"][number])
                    before = next((i for i, start in enumerate(starts) if start >= (key[1] or 0)), len(ids))
                self._known[key] = ids, before

    def _joined(self, pieces: list[Piece]) -> Encoded:
        ids: list[int] = []
        prompt_length = 0
        for piece in pieces:
            tokens, before = self._known[piece.text, piece.reply_from]
            if piece.reply_from is not None:
                prompt_length = len(ids) + before
            ids += tokens
        return Encoded(ids if self.reply else ids[:prompt_length], prompt_length)


def encode(
    example: Example, prompt: PromptConfig, tokenizer: "PreTrainedTokenizerBase", max_length: int, reply: bool = True
) -> Encoded:
    """Encode one example, see `Encoder`."""
    return Encoder(prompt, tokenizer, max_length, reply)([example])[0]


def encode_all(
    examples: Sequence[Example],
    prompt: PromptConfig,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    reply: bool = True,
) -> list[Encoded]:
    """Encode many examples, see `Encoder`."""
    encoder = Encoder(prompt, tokenizer, max_length, reply)
    return [e for start in range(0, len(examples), _BATCH) for e in encoder(examples[start : start + _BATCH])]


def control_id(token: str, tokenizer: "PreTrainedTokenizerBase") -> int:
    """The id of a control token. Raises InputError where the tokenizer has none such."""
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or found == tokenizer.unk_token_id:
        raise InputError(f"the tokenizer of this model has no {token}: choose another prompt= than the present one")
    assert isinstance(found, int)
    return found


def end_token_id(prompt: PromptConfig, tokenizer: "PreTrainedTokenizerBase") -> int:
    """The id at which a reply ends in this format."""
    return control_id("</s>" if prompt.template == "llama2_chat" else "<|im_end|>", tokenizer)
