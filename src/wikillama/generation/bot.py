"""A base with its adapter, ready to talk."""

import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.schema import PromptConfig
from wikillama.data.dialogue import Example, Sentence, Speaker
from wikillama.data.encode import Encoded, encode, end_token_id
from wikillama.data.prompt import Message
from wikillama.errors import InputError
from wikillama.generation.decoding import GREEDY, Sampling, produce, runs_in_circles, text_pieces
from wikillama.generation.streaming import Clock, End, ReplyStats, ReplyStream, Turns, Writer
from wikillama.model.adapters import speaking_as
from wikillama.model.dense import dense_weights
from wikillama.model.loss import causal_lm
from wikillama.model.recipe import Recipe

CONTEXT = 2048  # tokens that a conversation may have at least, where the base has room for them


class Speaks(Protocol):
    """What can be talked to: a `Bot`, or what stands for one."""

    def stream(
        self,
        history: Sequence[str | Message],
        knowledge: Sequence[str | Sentence] = (),
        topic: str | None = None,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling = GREEDY,
    ) -> ReplyStream:
        """A reply as it is made, see `Bot.stream`."""
        ...


@dataclass(frozen=True)
class Bot:
    """The Wizard's side of a conversation. Several threads may ask; they are answered one after the other.

    `history` holds the utterances so far, oldest first: plain strings, of which the last is by the person spoken to
    and speakers alternate, or messages with roles, where a system message takes the place of the one trained with.
    `knowledge` holds sentences to answer from, with or without the titles of their articles. Where a conversation does
    not fit `context`, its oldest exchanges go.

    `adapter` is which of the model's adapters speaks, None the base beneath them: bots may share a model, and then
    share `turns`, too.

    On a CPU, 4-bit weights are unpacked for each reply. A process that goes on replying keeps them so, which saves
    their unpacking: `with dense_weights(bot.model): ...`.
    """

    model: PeftModel | LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    adapter: str | None = "default"
    turns: Turns = field(default_factory=Turns, repr=False, compare=False)

    @property
    def context(self) -> int:
        """Tokens of prompt and reply: those of training, and at least CONTEXT where the base has positions for them.

        Training cuts for its budget; a conversation need not forget because of that.
        """
        positions: int = self.model.config.max_position_embeddings
        return min(positions, max(self.recipe.max_length, CONTEXT))

    def reply(
        self,
        history: Sequence[str | Message],
        knowledge: Sequence[str | Sentence] = (),
        topic: str | None = None,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling = GREEDY,
    ) -> str:
        """The reply to a conversation, as `stream` makes it."""
        return "".join(self.stream(history, knowledge, topic, max_new_tokens=max_new_tokens, sampling=sampling))

    def stream(
        self,
        history: Sequence[str | Message],
        knowledge: Sequence[str | Sentence] = (),
        topic: str | None = None,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling = GREEDY,
    ) -> ReplyStream:
        """The reply as pieces of text, each as soon as it is made; greedy unless `sampling` says otherwise.

        `max_new_tokens` is by default what the adapter was evaluated with. A greedy reply is the one that
        `generation.batched` gives, but that it ends where it runs in circles, and never within a character. Raises
        InputError for a length or a sampling that cannot be.
        """
        return ReplyStream(
            self.turns, self.writer(history, knowledge, topic, max_new_tokens=max_new_tokens, sampling=sampling)
        )

    def writer(
        self,
        history: Sequence[str | Message],
        knowledge: Sequence[str | Sentence] = (),
        topic: str | None = None,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling = GREEDY,
        clock: Clock | None = None,
    ) -> Writer:
        """What makes the reply that `stream` gives, to be called when its turn has come; `clock` began when it was
        asked for. Raises InputError as `stream` does.
        """
        sampling.check()
        limit = self.recipe.max_new_tokens if max_new_tokens is None else max_new_tokens
        if not 1 <= limit <= self.context // 2:
            raise InputError(f"max_new_tokens={limit}: give 1 to {self.context // 2}, half of this model's context")
        prompt = self._prompt(history, knowledge, topic, self.context - limit)
        end_id = end_token_id(self.recipe.prompt, self.tokenizer)
        timed = clock or Clock()

        def write(put: Callable[[str], bool]) -> ReplyStats:
            timed.begin()
            self.model.eval()
            end: End = "length"
            with torch.inference_mode(), dense_weights(self.model), speaking_as(self.model, self.adapter):
                made = produce(causal_lm(self.model), prompt.input_ids, end_id, limit, sampling)
                for piece in text_pieces(timed.counted(made), self.tokenizer):
                    if not put(piece):
                        end = "closed"
                    elif timed.tokens[-1] == end_id:
                        end = "stop"
                    elif runs_in_circles(timed.tokens):
                        end = "repetition"
                    if end != "length":
                        break
            return timed.stats(end, prompt)

        return write

    def _prompt(
        self, history: Sequence[str | Message], knowledge: Sequence[str | Sentence], topic: str | None, room: int
    ) -> Encoded:
        said = _messages(history)
        system = "\n".join(message.content for message in said if message.role == "system")
        prompt = self.recipe.prompt.model_copy(update={"system": system}) if system else self.recipe.prompt
        example = Example(
            id="chat",
            dialogue_id="chat",
            history=tuple((_SPEAKERS[m.role], m.content) for m in said if m.role != "system"),
            response="",
            knowledge=tuple(fact if isinstance(fact, Sentence) else Sentence(topic, fact) for fact in knowledge),
            topic=topic,
        )
        made = encode(example, prompt, self.tokenizer, sys.maxsize, reply=False)
        if len(made.input_ids) <= room:
            return made
        return self._shortened(example, prompt, room)

    def _shortened(self, example: Example, prompt: PromptConfig, room: int) -> Encoded:
        """Without as many of the oldest exchanges as it takes; each begins with something that the user said."""
        starts = [place for place, (speaker, _) in enumerate(example.history) if place and speaker == "apprentice"]

        def fits(start: int) -> bool:
            shorter = replace(example, history=example.history[start:])
            return len(encode(shorter, prompt, self.tokenizer, sys.maxsize, reply=False).input_ids) <= room

        place = bisect_left(starts, True, key=fits)
        kept = starts[min(place, len(starts) - 1)] if starts else 0
        made = encode(replace(example, history=example.history[kept:]), prompt, self.tokenizer, room, reply=False)
        return replace(made, cut="history") if made.cut == "nothing" else made


_SPEAKERS: dict[str, Speaker] = {"user": "apprentice", "assistant": "wizard"}


def _messages(history: Sequence[str | Message]) -> list[Message]:
    """With roles where there are none: speakers alternate, and the user spoke last."""
    return [
        said if isinstance(said, Message) else Message("user" if (len(history) - place) % 2 else "assistant", said)
        for place, said in enumerate(history)
    ]
