"""Asks systems, batch by batch, and remembers what they said; measures how long one reply takes."""

import statistics
import time
from collections.abc import Sequence

from wikillama.config.schema import EvaluationConfig
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode_all, end_token_id
from wikillama.evaluation.memory import key_of
from wikillama.evaluation.results import Costs
from wikillama.evaluation.system import System
from wikillama.generation.batched import Generated, generate

_TIMED = 3  # prompts that are timed one at a time


def answers(
    system: System,
    examples: Sequence[Example],
    evaluation: EvaluationConfig,
    progress: str | None = None,
) -> list[Generated]:
    """The system's greedy reply to each example, in order; only what was never asked is asked.

    A batch is remembered as soon as it is done, so that an interrupted evaluation goes on where it was.
    """
    end, max_new_tokens = end_token_id(system.prompt, system.tokenizer), evaluation.max_new_tokens
    room = system.max_length - max_new_tokens
    prompts = [e.input_ids for e in encode_all(examples, system.prompt, system.tokenizer, room, reply=False)]
    keys = [key_of("greedy", prompt, max_new_tokens, end) for prompt in prompts]
    new = [place for place, key in enumerate(keys) if system.memory.get(key) is None]

    def remember(places: list[int], made: list[Generated]) -> None:
        system.memory.put(
            (keys[new[place]], {"text": reply.text, "tokens": reply.tokens, "seconds": round(reply.seconds, 4)})
            for place, reply in zip(places, made, strict=True)
        )

    if new:
        asked = [prompts[place] for place in new]
        with system.awake() as model:
            size, tokens = evaluation.batch_size, evaluation.batch_tokens
            generate(model, system.tokenizer, asked, end, max_new_tokens, size, tokens, progress, on_batch=remember)
    known = [system.memory.get(key) for key in keys]
    return [Generated(**record) for record in known if record is not None]


def costs(system: System, examples: Sequence[Example], max_new_tokens: int, hardware: str) -> Costs:
    """How long the system takes to start, to its first token, and to a whole reply, one at a time: medians of a few.

    Measured once on a machine and remembered. The peak of memory is the caller's to add.
    """
    key = key_of("costs", hardware, max_new_tokens)
    record = system.memory.get(key)
    if record is None:
        end = end_token_id(system.prompt, system.tokenizer)
        room = system.max_length - max_new_tokens
        asked = encode_all(list(examples[:_TIMED]), system.prompt, system.tokenizer, room, reply=False)
        start = system.loaded.seconds
        first: list[float] = []
        whole: list[float] = []
        with system.awake() as model:
            for prompt in asked:
                for tokens, seconds in ((1, first), (max_new_tokens, whole)):
                    began = time.perf_counter()
                    generate(model, system.tokenizer, [prompt.input_ids], end, tokens, batch_size=1)
                    seconds.append(time.perf_counter() - began)
        record = {
            "start_s": round(start, 2),
            "ttft_ms": round(1000 * statistics.median(first), 1),
            "reply_s": round(statistics.median(whole), 3),
        }
        system.memory.put([(key, record)])
    return Costs(hardware, **record, adapter_mb=system.adapter_mb)
