"""Scores one system on held-out turns."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.schema import EvaluationConfig, PromptConfig
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode_all, end_token_id
from wikillama.evaluation.likelihood import likelihood
from wikillama.evaluation.metrics import f1
from wikillama.generation.batched import generate

# Word-overlap scores are proportions in 0..1, means over turns; the corpus of a knowledge-F1 is the turns that used
# knowledge. ParlAI's own corpus counts the others too, with "no_passages_used" as their knowledge.


@dataclass(frozen=True)
class Scores:
    """Means over `turns` held-out turns, `knowledge_turns` of which used knowledge."""

    loss: float
    ppl: float
    f1: float
    kf1: float
    turns: int
    knowledge_turns: int
    target_tokens: int
    mean_words: float  # of the replies
    seconds: float

    def metrics(self, prefix: str) -> dict[str, float]:
        """As MLflow metrics, named `<prefix>/<metric>`."""
        return {f"{prefix}/{name}": float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Prediction:
    """A held-out turn with a system's reply to it."""

    id: str
    dialogue_id: str
    topic: str | None
    history: tuple[str, ...]
    knowledge: tuple[str, ...]
    gold_knowledge: str | None
    reference: str
    reply: str
    f1: float
    kf1: float | None


def score(
    model: PeftModel | LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    prompt: PromptConfig,
    max_length: int,
    evaluation: EvaluationConfig,
    progress: str | None = None,
) -> tuple[Scores, list[Prediction]]:
    """Loss and perplexity of the human replies, and overlap of the system's own greedy replies with them."""
    started = time.perf_counter()
    encoded = encode_all(examples, prompt, tokenizer, max_length)
    pad_id = tokenizer.pad_token_id
    assert isinstance(pad_id, int)
    likely = likelihood(model, encoded, pad_id, evaluation.batch_size, progress and f"{progress}: loss")
    asked = encode_all(examples, prompt, tokenizer, max_length - evaluation.max_new_tokens, reply=False)
    replies = generate(
        model,
        tokenizer,
        [e.input_ids for e in asked],
        end_token_id(prompt, tokenizer),
        evaluation.max_new_tokens,
        evaluation.batch_size,
        progress and f"{progress}: replies",
    )
    predictions = [_prediction(example, reply) for example, reply in zip(examples, replies, strict=True)]
    kf1s = [p.kf1 for p in predictions if p.kf1 is not None]
    scores = Scores(
        loss=likely.loss,
        ppl=likely.perplexity,
        f1=sum(p.f1 for p in predictions) / len(predictions),
        kf1=sum(kf1s) / len(kf1s) if kf1s else 0.0,
        turns=len(predictions),
        knowledge_turns=len(kf1s),
        target_tokens=likely.tokens,
        mean_words=sum(len(p.reply.split()) for p in predictions) / len(predictions),
        seconds=time.perf_counter() - started,
    )
    return scores, predictions


def _prediction(example: Example, reply: str) -> Prediction:
    gold = example.gold_knowledge
    return Prediction(
        id=example.id,
        dialogue_id=example.dialogue_id,
        topic=example.topic,
        history=tuple(text for _, text in example.history),
        knowledge=tuple(sentence.text for sentence in example.knowledge),
        gold_knowledge=gold,
        reference=example.response,
        reply=reply,
        f1=f1(reply, [example.response]),
        kf1=f1(reply, [gold]) if gold else None,
    )
