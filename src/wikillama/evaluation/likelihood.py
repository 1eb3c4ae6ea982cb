"""How likely a system finds the human replies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress

from wikillama.config.schema import EvaluationConfig
from wikillama.data.batching import Collator, worked
from wikillama.data.encode import Encoded
from wikillama.evaluation.memory import key_of
from wikillama.evaluation.resampling import Estimate, cluster_sums, percentile_interval, resampled_sums
from wikillama.evaluation.system import System
from wikillama.model.loss import reply_losses


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one reply, its end token included: summed negative log likelihood in nats, and its number of tokens."""

    nll: float
    tokens: int


def likelihoods(
    system: System, encoded: Sequence[Encoded], evaluation: EvaluationConfig, progress: str | None = None
) -> list[Likelihood]:
    """The likelihood of each example's reply, in order; what the system has been asked before is remembered."""
    keys = [key_of("nll", e.input_ids, e.prompt_length) for e in encoded]
    new = [place for place, key in enumerate(keys) if system.memory.get(key) is None]
    lengths = [len(encoded[place].input_ids) for place in new]
    pad = system.tokenizer.pad_token_id
    assert isinstance(pad, int)
    collate = Collator(pad)
    if new:
        with torch.inference_mode(), system.awake() as model:

            def losses(batch_places: list[int]) -> list[tuple[float, int]]:
                chosen = [encoded[new[i]] for i in batch_places]
                found, counts = reply_losses(model, {name: t.to(model.device) for name, t in collate(chosen).items()})
                return list(zip(found.tolist(), counts.tolist(), strict=True))

            batches = worked(lengths, evaluation.batch_size, evaluation.batch_tokens, losses)
            with Progress(transient=True, disable=progress is None) as shown:
                task = shown.add_task(progress or "", total=len(new))
                for batch_places, found in batches:
                    rows = zip(batch_places, found, strict=True)
                    system.memory.put((keys[new[i]], {"nll": loss, "tokens": n}) for i, (loss, n) in rows)
                    shown.advance(task, len(batch_places))
    known = [system.memory.get(key) for key in keys]
    return [Likelihood(record["nll"], record["tokens"]) for record in known if record is not None]


def ratio(
    sums: Sequence[float], counts: Sequence[float], clusters: Sequence[str], resamples: int, seed: int = 0
) -> Estimate:
    """The ratio of two totals over a corpus, such as nats a token, with its interval over resampled dialogues."""
    by_cluster = cluster_sums(list(zip(sums, counts, strict=True)), clusters)
    drawn = resampled_sums(by_cluster, resamples, seed)
    value = float(by_cluster[:, 0].sum() / by_cluster[:, 1].sum())
    if len(by_cluster) < 2:  # resamples of one dialogue do not vary
        return Estimate(value, float("nan"), float("nan"), len(sums))
    return percentile_interval(value, np.asarray(drawn[:, 0] / drawn[:, 1]), len(sums))
