"""Scores one system on held-out turns of dialogues."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wikillama.config.schema import EvaluationConfig
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode_all
from wikillama.evaluation.answering import answers
from wikillama.evaluation.corpus_metrics import Reply, score_replies
from wikillama.evaluation.likelihood import likelihoods, ratio
from wikillama.evaluation.metrics import RareWords, f1
from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Prediction
from wikillama.evaluation.system import System


@dataclass(frozen=True)
class Scores:
    """Metrics over `turns` held-out turns, with intervals over dialogues; named as in `corpus_metrics.score_replies`.

    Beside those: `loss` (nats a token) and `ppl` of the human replies, `bits_per_byte` of their text.
    """

    metrics: Mapping[str, Estimate]
    turns: int
    target_tokens: int

    def __getitem__(self, name: str) -> float:
        """The value of a metric; nan where the turns had not what it takes."""
        return self.metrics[name].value if name in self.metrics else math.nan

    def logged(self, prefix: str) -> dict[str, float]:
        """As MLflow metrics, named `<prefix>/<metric>`."""
        values = {f"{prefix}/{name}": estimate.value for name, estimate in self.metrics.items()}
        return values | {f"{prefix}/turns": float(self.turns), f"{prefix}/target_tokens": float(self.target_tokens)}


def score(
    system: System,
    examples: Sequence[Example],
    evaluation: EvaluationConfig,
    rare: RareWords | None = None,
    progress: str | None = None,
) -> tuple[Scores, list[Prediction]]:
    """Loss and perplexity of the human replies, and overlap of the system's own greedy replies with them."""
    encoded = encode_all(examples, system.prompt, system.tokenizer, system.max_length)
    likely = likelihoods(system, encoded, evaluation, progress and f"{progress}: loss")
    predictions = [
        replace(said, nll=found.nll, tokens=found.tokens)
        for said, found in zip(predict(system, examples, evaluation, progress), likely, strict=True)
    ]
    clusters = [example.dialogue_id for example in examples]
    nll, tokens = [x.nll for x in likely], [float(x.tokens) for x in likely]
    loss = ratio(nll, tokens, clusters, evaluation.resamples)
    metrics = {
        "loss": loss,
        "ppl": Estimate(math.exp(loss.value), math.exp(loss.low), math.exp(loss.high), loss.n),
        "bits_per_byte": ratio(
            [x / math.log(2) for x in nll],
            [float(len(e.response.encode())) for e in examples],
            clusters,
            evaluation.resamples,
        ),
        **score_texts([as_reply(p) for p in predictions], evaluation, rare),
    }
    return Scores(metrics, len(examples), int(sum(tokens))), predictions


def score_texts(
    replies: Sequence[Reply], evaluation: EvaluationConfig, rare: RareWords | None = None
) -> dict[str, Estimate]:
    """All metrics of texts that the configuration asks for."""
    if not evaluation.embedding:
        return score_replies(replies, rare, evaluation.resamples)
    from wikillama.evaluation.embedding import cosines  # its model takes a second to load

    return score_replies(replies, rare, evaluation.resamples, further=cosines(replies))


def predict(
    system: System, examples: Sequence[Example], evaluation: EvaluationConfig, progress: str | None = None
) -> list[Prediction]:
    """The system's reply to each turn, with its overlap with reference and gold knowledge."""
    replies = answers(system, examples, evaluation, progress and f"{progress}: replies")
    return [_prediction(example, reply.text) for example, reply in zip(examples, replies, strict=True)]


def as_reply(prediction: Prediction) -> Reply:
    """What the metrics need of a prediction; the knowledge is the gold sentence, whatever the prompt showed."""
    gold = prediction.gold_knowledge
    return Reply(
        reply=prediction.reply,
        references=(prediction.reference,),
        knowledge=(gold,) if gold else None,
        history=prediction.history,
        topic=prediction.topic,
        cluster=prediction.dialogue_id,
    )


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
