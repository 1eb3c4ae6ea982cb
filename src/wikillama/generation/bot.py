"""A base with its adapter, ready to talk."""

from collections.abc import Sequence
from dataclasses import dataclass

from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.data.dialogue import Example, Sentence, Speaker
from wikillama.data.encode import encode, end_token_id
from wikillama.generation.batched import generate
from wikillama.model.recipe import Recipe


@dataclass(frozen=True)
class Bot:
    """The Wizard's side of a conversation."""

    model: PeftModel | LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe

    def reply(self, history: Sequence[str], knowledge: Sequence[str] = (), topic: str | None = None) -> str:
        """The reply to a conversation.

        `history` holds the utterances so far, oldest first, the last one by the person spoken to; `knowledge` holds
        sentences to answer from. History that does not fit the context is dropped from its old end.
        """
        recipe = self.recipe
        example = Example(
            id="chat",
            dialogue_id="chat",
            history=_speakers(history),
            response="",
            knowledge=tuple(Sentence(topic, text) for text in knowledge),
            topic=topic,
        )
        prompt = encode(example, recipe.prompt, self.tokenizer, recipe.max_length - recipe.max_new_tokens, reply=False)
        end = end_token_id(recipe.prompt, self.tokenizer)
        return generate(self.model, self.tokenizer, [prompt.input_ids], end, recipe.max_new_tokens, batch_size=1)[
            0
        ].text


def _speakers(history: Sequence[str]) -> tuple[tuple[Speaker, str], ...]:
    """Speakers alternate, and the Apprentice spoke last."""
    return tuple(
        ("apprentice" if (len(history) - place) % 2 == 1 else "wizard", text) for place, text in enumerate(history)
    )
