"""Compares systems on the same questions or held-out turns, in one MLflow run with one report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import seed_everything

from wikillama.config.schema import DataConfig, EvaluateConfig
from wikillama.data.corpus import load_examples, read_dialogues
from wikillama.data.dialogue import Example
from wikillama.data.locate import locate
from wikillama.data.retrieval.on_demand import IndexSource
from wikillama.errors import InputError
from wikillama.evaluation.answering import costs
from wikillama.evaluation.asking import as_examples, stratified
from wikillama.evaluation.corpus_metrics import Reply
from wikillama.evaluation.judging.verdict import Judge
from wikillama.evaluation.metrics import RareWords, rare_words
from wikillama.evaluation.questions import Question, load_questions
from wikillama.evaluation.report import write_report
from wikillama.evaluation.results import Costs, Evaluation, SystemResult
from wikillama.evaluation.score import as_reply, predict, score, score_texts
from wikillama.evaluation.system import System
from wikillama.jobs.asking import ask, provenance
from wikillama.jobs.console import Phases, bar, console, download_bar, quiet_libraries
from wikillama.jobs.index import knowledge_index
from wikillama.jobs.judges import answer_judge
from wikillama.jobs.review import ReviewedLabels, create, reviewed
from wikillama.jobs.systems import systems_of
from wikillama.jobs.tables import counts_table, scores_table, transition_table
from wikillama.model.base import device_of
from wikillama.tracking.facts import hardware, shown
from wikillama.tracking.registry.evaluations import systems_tag
from wikillama.tracking.remote import ui
from wikillama.tracking.run import TrackedRun, tracked_run
from wikillama.training.callbacks import peak_memory_gb

NO_LABELS = ReviewedLabels({}, {})


@dataclass(frozen=True)
class _Suite:
    """What every system is asked."""

    examples: list[Example]
    questions: list[Question]  # none: turns of dialogues
    judge: Judge | None  # of answers to questions
    rare: RareWords | None  # words that are rare in train; of suites of dialogues
    shuffled: list[Example]  # the same turns under another dialogue's knowledge; none: no control
    index: IndexSource | None = None  # that knowledge for questions is looked up in


def evaluate(cfg: EvaluateConfig) -> Evaluation:
    """Ask and judge each system, write the report and print its tables.

    All see the same turns or questions and the same knowledge; each has its own prompt. What a system was asked before
    is not asked again.
    """
    quiet_libraries()
    seed_everything(cfg.seed, workers=True, verbose=False)
    phases = Phases()
    with phases("data", f"{cfg.suite.name}, {cfg.knowledge.mode} knowledge"):
        suite = _suite(cfg)
    output = Path(HydraConfig.get().runtime.output_dir)
    with tracked_run(cfg.tracking, cfg, output) as run:
        systems = systems_of(cfg)
        run.tags(systems_tag((s.name, metric_name(s.name), s.fingerprint) for s in systems))
        results = []
        for system in systems:
            with phases(system.name, f"{len(suite.examples)} {'questions' if suite.questions else 'turns'}"):
                results.append(_result(cfg, system, suite, run))
                system.unload()
        with phases("report", "tables, plots, tests"):
            people = reviewed(cfg) if cfg.review.collect or cfg.judge.kind == "human" else NO_LABELS
            found = _evaluation(cfg, suite, _by_people(cfg, results, people), people)
            folder = output / "report"
            page = write_report(found, folder)
            run.artifacts(folder, cfg.suite.name)
        if cfg.review.create:
            with phases("review", "blind answers into review queues"):
                create(cfg, found)
        console.print()
        _print_tables(found)
        console.print(f"wall time     {phases}")
        console.print(f"report        {shown(str(page))}   (also in the run, under {cfg.suite.name}/)", soft_wrap=True)
        console.print(f"look further  {ui(cfg.tracking.uri)}   (run {run.id})", soft_wrap=True)
    return found


def _suite(cfg: EvaluateConfig) -> _Suite:
    if cfg.suite.kind == "questions":
        path = Path(cfg.suite.path).expanduser() if cfg.suite.path else None
        questions = stratified(load_questions(path), cfg.suite.limit)
        judge = answer_judge(cfg.judge, _under_test(cfg))
        index = _index_of(cfg)
        return _Suite(as_examples(questions, cfg.knowledge, index), questions, judge, None, [], index)
    with download_bar("corpus") as progress:
        located = locate(cfg.data, cfg.cache_dir, progress)
    rare = rare_words(turn.text for dialogue in read_dialogues(located, "train") for turn in dialogue.turns)
    shuffled = _turns(cfg, located, shuffled=True) if cfg.evaluation.shuffled_control else []
    return _Suite(_turns(cfg, located), [], None, rare, shuffled)


def _index_of(cfg: EvaluateConfig) -> IndexSource | None:
    """The index that questions are looked up in; they bring passages, and no corpus, of their own."""
    if cfg.knowledge.source != "index":
        return None
    with download_bar("corpus") as progress:
        return knowledge_index(cfg, locate(cfg.data, cfg.cache_dir, progress))


def _turns(cfg: EvaluateConfig, data: DataConfig, shuffled: bool = False) -> list[Example]:
    assert cfg.suite.split is not None  # of suites of dialogues
    knowledge = cfg.knowledge.model_copy(update={"mode": "shuffled"}) if shuffled else cfg.knowledge
    return load_examples(data, knowledge, cfg.suite.split, cfg.seed, knowledge_index(cfg, data))


def _result(cfg: EvaluateConfig, system: System, suite: _Suite, run: TrackedRun) -> SystemResult:
    name = f"{cfg.suite.name}/{metric_name(system.name)}"
    if suite.questions:
        result = _ask(cfg, system, suite)
        run.json_lines(result.answers, f"{name}/answers.jsonl")
        run.metrics(dict(zip((f"{name}/{x}" for x in ("correct", "wrong", "ambiguous")), result.counts, strict=True)))
    else:
        scores, predictions = score(system, suite.examples, cfg.evaluation, suite.rare, progress=bar(system.name))
        run.json_lines(predictions, f"{name}/predictions.jsonl")
        run.metrics(scores.logged(name))
        result = SystemResult(
            system.name, _costs(cfg, system, suite.examples), metrics=scores.metrics, predictions=tuple(predictions)
        )
        if suite.shuffled:
            control = predict(system, suite.shuffled, cfg.evaluation, progress=bar(f"{system.name}, shuffled"))
            shuffled = score_texts([as_reply(p) for p in control], cfg.evaluation).get("kf1")
            result = replace(result, shuffled_kf1=shuffled)
    figures = {key: value for key, value in asdict(result.costs).items() if isinstance(value, int | float)}
    run.metrics({f"runtime/{metric_name(system.name)}/{key}": value for key, value in figures.items()})
    return result


def _ask(cfg: EvaluateConfig, system: System, suite: _Suite) -> SystemResult:
    evaluation = cfg.evaluation
    assert suite.judge is not None  # of suites of questions
    found = ask(system, suite.questions, cfg.knowledge, evaluation, suite.judge, suite.index)
    return SystemResult(
        name=system.name,
        costs=_costs(cfg, system, suite.examples),
        answers=found,
        metrics=score_texts([_as_reply(q, a.reply) for q, a in zip(suite.questions, found, strict=True)], evaluation),
    )


def _under_test(cfg: EvaluateConfig) -> tuple[str, ...]:
    """All names by which a judge could be one of the systems."""
    named = (*cfg.systems, cfg.model.name, cfg.model.hub_id, cfg.model.path and Path(cfg.model.path).name)
    return tuple(name for name in named if name)


def _as_reply(question: Question, reply: str) -> Reply:
    return Reply(reply, (question.reference,), tuple(question.gold), (question.question,), question.topic, question.id)


def _costs(cfg: EvaluateConfig, system: System, examples: Sequence[Example]) -> Costs:
    taken = costs(system, examples, cfg.evaluation.max_new_tokens, hardware())
    return replace(taken, peak_gb=round(peak_memory_gb(device_of(cfg.accelerator)), 2))


def _by_people(
    cfg: EvaluateConfig, results: Sequence[SystemResult], people: ReviewedLabels
) -> tuple[SystemResult, ...]:
    """With `judge=human`, answers carry the label on which people settled, and those without one are left out."""
    if cfg.judge.kind != "human":
        return tuple(results)
    found = []
    for result in results:
        labels: Mapping[str, str] = people.settled.get(result.name, {})
        kept = (
            replace(answer, label=labels[answer.id], score=float(labels[answer.id] == "correct"), evidence="people")
            for answer in result.answers
            if answer.id in labels
        )
        found.append(replace(result, answers=tuple(kept)))
    if not any(result.answers for result in found):
        raise InputError("judge=human: nobody has labelled an answer yet; label some, see review.create=true")
    return tuple(found)


def _evaluation(
    cfg: EvaluateConfig, suite: _Suite, results: tuple[SystemResult, ...], people: ReviewedLabels
) -> Evaluation:
    judge = None if suite.judge is None else suite.judge.name
    if judge and cfg.judge.kind == "human":
        judge = "people, in the MLflow UI"
    return Evaluation(
        suite=cfg.suite.name,
        knowledge=cfg.knowledge.mode,
        judge=judge,
        systems=results,
        provenance=provenance(cfg.evaluation, cfg.seed),
        human=people.settled,
        annotators=people.by_annotator,
    )


def _print_tables(found: Evaluation) -> None:
    if found.judge is not None:
        console.print(counts_table(found))
        first, *others = found.systems
        for other in others:
            if first.labels.keys() & other.labels.keys():  # people may have labelled answers of one alone
                console.print(transition_table(first, other))
    else:
        title = f"{found.suite}, {found.knowledge} knowledge"
        console.print(scores_table(title, {result.name: result.metrics for result in found.systems}))


def metric_name(system: str) -> str:
    """A system as a part of an MLflow metric's name, which allows no colon and no @."""
    return system.replace(":/", "/").replace("@", " ").strip("/")
