"""The model before and after training, scored on held-out turns and asked questions."""

from dataclasses import replace
from pathlib import Path

from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import EvaluationConfig, TrainConfig
from wikillama.data.dialogue import Example
from wikillama.evaluation.asking import stratified
from wikillama.evaluation.judging.lexical import LexicalJudge
from wikillama.evaluation.matrices import LABELS
from wikillama.evaluation.questions import load_questions
from wikillama.evaluation.results import Costs, Evaluation, SystemResult
from wikillama.evaluation.score import score
from wikillama.evaluation.system import System, fingerprint
from wikillama.jobs.asking import QUESTIONS_SUITE, ask, provenance
from wikillama.jobs.console import bar
from wikillama.model.base import Base
from wikillama.model.forecast import asking_tokens
from wikillama.tracking.facts import hardware
from wikillama.tracking.run import TrackedRun


def system_of(cfg: TrainConfig, model: PeftModel | LlamaForCausalLM, base: Base, adapter: Path | None) -> System:
    """The model as it stands, to be asked and scored: `base`, or `tuned` where its `adapter` is saved.

    The base may be asked with its fresh adapters switched off: they add exactly nothing, since B is zero, but take a
    quarter of the time of replies and a third of that of losses.
    """
    return System(
        name="base" if adapter is None else "tuned",
        fingerprint=fingerprint(base.weights_hash, base.dtype, cfg.quantization, adapter),
        tokenizer=base.tokenizer,
        prompt=cfg.prompt,
        max_length=cfg.data.max_length,
        load=lambda: model,
        cache_dir=cfg.cache_dir,
    )


def score_system(cfg: TrainConfig, system: System, held_out: list[Example], run: TrackedRun) -> SystemResult:
    """Score a system on the suite's turns and, where the job asks for them, questions; metrics and replies go to `run`.

    The tuned model's metrics are named `<suite>/...`, the base's `<suite>/base/...`.
    """
    evaluation = within_budget(cfg)
    found, predictions = score(system, held_out, evaluation, progress=bar(system.name))
    suite = cfg.suite.name if system.name == "tuned" else f"{cfg.suite.name}/{system.name}"
    run.metrics(found.logged(suite))
    run.json_lines(predictions, f"{suite}/predictions.jsonl")
    result = SystemResult(system.name, Costs(hardware()), metrics=found.metrics, predictions=tuple(predictions))
    if cfg.evaluation.questions is None:
        return result
    questions = stratified(load_questions(), cfg.evaluation.questions)
    knowledge = cfg.knowledge.for_split(cfg.suite.split or "")
    result = replace(result, answers=ask(system, questions, knowledge, evaluation, LexicalJudge()))
    asked = QUESTIONS_SUITE if system.name == "tuned" else f"{QUESTIONS_SUITE}/{system.name}"
    run.metrics(dict(zip((f"{asked}/{label}" for label in LABELS), map(float, result.counts), strict=True)))
    run.json_lines(result.answers, f"{asked}/answers.jsonl")
    return result


def within_budget(cfg: TrainConfig) -> EvaluationConfig:
    """How systems are asked: of tokens, no more together than `trainer.memory_budget_gb` leaves room for."""
    if cfg.trainer.memory_budget_gb is None:
        return cfg.evaluation
    room = asking_tokens(cfg.model, cfg.quantization, cfg.peft, cfg.trainer.memory_budget_gb)
    return cfg.evaluation.model_copy(update={"batch_tokens": max(1, min(cfg.evaluation.batch_tokens, room))})


def asked_of(cfg: TrainConfig, held_out: list[Example]) -> str:
    """What each system is asked, in a few words."""
    questions = f", {cfg.evaluation.questions} questions" if cfg.evaluation.questions else ""
    return f"{len(held_out)} turns of {cfg.suite.name}{questions}"


def evaluation_of(cfg: TrainConfig, results: dict[str, SystemResult]) -> Evaluation:
    """The results as the report reads them."""
    return Evaluation(
        suite=cfg.suite.name + (f" and {QUESTIONS_SUITE}" if cfg.evaluation.questions else ""),
        knowledge=cfg.knowledge.for_split(cfg.suite.split or "").mode,
        judge=LexicalJudge().name if cfg.evaluation.questions else None,
        systems=tuple(results.values()),
        provenance=provenance(cfg.evaluation, cfg.seed),
    )
