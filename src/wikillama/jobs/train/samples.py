"""Replies to the same few validation turns at each validation, so that one can read how the model changes."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from operator import itemgetter

from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig
from wikillama.data.corpus import load_examples
from wikillama.data.datamodule import WowDataModule
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode_all, end_token_id
from wikillama.generation.batched import generate
from wikillama.model.adapters import speaking_as
from wikillama.model.base import Base
from wikillama.model.dense import dense_weights
from wikillama.tracking.run import TrackedRun
from wikillama.training.callbacks import Samples

SAMPLES = "samples.json"  # artifact of a run, which MLflow shows as a table


def samples(
    cfg: TrainConfig, model: PeftModel | LlamaForCausalLM, base: Base, data: WowDataModule, run: TrackedRun
) -> list[Samples]:
    """A callback that appends the model's replies to the run's samples; none where the job wants no samples."""
    if not cfg.evaluation.samples:
        return []
    valid = load_examples(data.data, cfg.knowledge, "valid_seen", cfg.seed, data.index)
    examples = spread(valid, cfg.evaluation.samples)
    length, end = cfg.evaluation.max_new_tokens, end_token_id(cfg.prompt, base.tokenizer)
    room = cfg.data.max_length - length
    prompts = [e.input_ids for e in encode_all(examples, cfg.prompt, base.tokenizer, room, reply=False)]

    def sample(step: int) -> None:
        # before the first step adapters add exactly nothing, and the base alone says it in three quarters of the time
        with dense_weights(model), nullcontext() if step else speaking_as(model, None):
            replies = generate(model, base.tokenizer, prompts, end, length, cfg.evaluation.batch_size)
        run.table(
            {
                "step": [step] * len(examples),
                "topic": [example.topic or "" for example in examples],
                "said to it": [example.history[-1][1] if example.history else "" for example in examples],
                "knowledge": [" ".join(sentence.text for sentence in example.knowledge) for example in examples],
                "human reply": [example.response for example in examples],
                "its reply": [reply.text for reply in replies],
            },
            SAMPLES,
        )

    return [Samples(sample)]


def spread(examples: Sequence[Example], number: int) -> list[Example]:
    """The first turn of each topic, then the second of each, and so on; turns that answer something before others."""
    seen: Counter[tuple[bool, str | None]] = Counter()
    ranked = []
    for example in examples:
        opens = not example.history
        ranked.append((opens, seen[opens, example.topic], example))
        seen[opens, example.topic] += 1
    return [example for *_, example in sorted(ranked, key=itemgetter(0, 1))][:number]
