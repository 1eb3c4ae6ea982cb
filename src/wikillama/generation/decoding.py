"""One reply, a token at a time: how tokens are chosen, when a reply ends, and text that is whole at every step."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LlamaForCausalLM,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from wikillama.errors import InputError
from wikillama.generation.batched import last_logits

_LONGEST_STRETCH = 64  # tokens
_COPIES = ((1, 4), (8, 3), (16, 2))  # stretches of so many tokens make a loop by so many copies in a row,
_LOOPED = 24  # provided that they hold so many tokens together: "ha ha ha ha" is none
_BROKEN = "\ufffd"  # what part of a character is decoded to


class Sampling(NamedTuple):
    """How a token is chosen: the likeliest one at temperature 0, else one drawn from the `top_p` of the mass."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None  # None: another reply each time

    def check(self) -> None:
        """Raises InputError for values that make no distribution."""
        if not 0 <= self.temperature <= 2:
            raise InputError(f"temperature={self.temperature}: give a number from 0 (the likeliest token) to 2")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: give a number over 0, at most 1")


GREEDY = Sampling()


def produce(
    model: LlamaForCausalLM, prompt: list[int], end_id: int, max_new_tokens: int, sampling: Sampling
) -> Iterator[int]:
    """The new tokens, up to and with the end token, each computed as it is asked for, to be called in inference mode.

    At temperature 0 they are the tokens of `generation.batched`: the same products, in the same order.
    """
    generator = _generator(sampling, model.device)
    ids = torch.tensor([prompt], device=model.device)
    mask = torch.ones_like(ids)
    positions = mask.cumsum(1) - 1
    cache = DynamicCache(config=model.config)
    for _ in range(max_new_tokens):
        logits = last_logits(model, ids, mask, positions, cache)
        chosen = logits.argmax(-1, keepdim=True) if generator is None else _drawn(ids, logits, sampling, generator)
        token = int(chosen)
        yield token
        if token == end_id:
            return
        ids, positions = chosen, positions[:, -1:] + 1
        mask = torch.cat((mask, mask.new_ones(1, 1)), 1)


def _generator(sampling: Sampling, device: torch.device) -> torch.Generator | None:
    if sampling.temperature == 0:
        return None
    generator = torch.Generator(device)
    if sampling.seed is None:
        generator.seed()
        return generator
    return generator.manual_seed(sampling.seed)


def _drawn(ids: Tensor, logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """A token (1, 1) from the distribution over `logits` (1, vocabulary) that `sampling` makes of it."""
    temperature, top_p = float(sampling.temperature), float(sampling.top_p)  # the warpers take no int
    warp = LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)])
    probabilities = warp(ids, logits.float()).softmax(-1)  # type: ignore[arg-type]
    return torch.multinomial(probabilities, 1, generator=generator)


def runs_in_circles(tokens: list[int]) -> bool:
    """Whether tokens end in a loop: a stretch of at most 64 that comes again and again, in 24 tokens or more.

    A few words have to come four times in a row, a clause three times, and a sentence of 16 tokens twice. Small models
    fall into such loops when they reply greedily, and do not come out again (Holtzman et al. 2020, arXiv:1904.09751,
    section 3).
    """
    for stretch in range(1, min(_LONGEST_STRETCH, len(tokens) // 2) + 1):
        copies = next(copies for least, copies in reversed(_COPIES) if stretch >= least)
        looped = stretch * max(copies, -(-_LOOPED // stretch))
        if looped <= len(tokens) and tokens[-looped:-stretch] == tokens[-looped + stretch :]:
            return True
    return False


def text_pieces(tokens: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """A piece of text for each token, "" where it does not make a whole character yet.

    Together they are the decoded tokens without control tokens, white space at either end, and the part of a character
    with which a reply may be cut off. All tokens are decoded anew at each step: what a token adds to a text depends on
    those before it, and against a step of the model the time is nothing.
    """
    ids: list[int] = []
    sent = 0
    for token in tokens:
        ids.append(token)
        whole = str(tokenizer.decode(ids, skip_special_tokens=True)).lstrip().rstrip(_BROKEN).rstrip()
        yield whole[sent:]
        sent = max(sent, len(whole))
