"""The main job: data, base, score, fit, score, register."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from peft import PeftModel
from rich.markup import escape
from rich.table import Table
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig
from wikillama.data.corpus import load_examples
from wikillama.data.datamodule import WowDataModule
from wikillama.data.dialogue import Example
from wikillama.data.label_report import LABEL_REPORT, write_label_report
from wikillama.data.locate import locate
from wikillama.evaluation.asking import stratified
from wikillama.evaluation.judging.lexical import LexicalJudge
from wikillama.evaluation.matrices import LABELS
from wikillama.evaluation.questions import load_questions
from wikillama.evaluation.report import write_report
from wikillama.evaluation.results import Costs, Evaluation, SystemResult
from wikillama.evaluation.score import score
from wikillama.evaluation.system import System, fingerprint
from wikillama.jobs.asking import QUESTIONS_SUITE, ask, provenance
from wikillama.jobs.console import Phases, StageBars, bar, console, download_bar, quiet_libraries
from wikillama.jobs.tables import counts_table, scores_table, transition_table
from wikillama.jobs.tokenizer import tokenizer_source
from wikillama.model import adapters
from wikillama.model.base import Base, device_of, load_base, resolve_dtype
from wikillama.model.recipe import Recipe
from wikillama.tracking.facts import hardware, shown
from wikillama.tracking.registry import ADAPTER, Version, register
from wikillama.tracking.run import TrackedRun, checkpoints_of, tracked_run
from wikillama.training.callbacks import peak_memory_gb
from wikillama.training.fit import FitResult, fit

_MB = 1e6


@dataclass(frozen=True)
class Trained:
    """What a training run came to."""

    run_id: str
    results: dict[str, SystemResult]  # by system: base, tuned
    fit: FitResult
    adapter_params: int
    adapter_mb: float
    version: Version | None


def train(cfg: TrainConfig) -> Trained | None:
    """Run the whole job and print its table. Ranks of a distributed run other than the first return None."""
    quiet_libraries()
    if cfg.trainer.threads is not None:
        torch.set_num_threads(cfg.trainer.threads)
    seed_everything(cfg.seed, workers=True, verbose=False)
    phases = Phases()
    device = device_of(cfg.trainer.accelerator)
    output = Path(HydraConfig.get().runtime.output_dir)
    resumed = checkpoints_of(cfg.tracking, cfg.resume) if cfg.resume is not None else None
    checkpoints = resumed or output / "checkpoints"

    with phases("data", f"{cfg.data.name}, grounded on {cfg.knowledge.mode} knowledge"):
        data, held_out = read_data(cfg)
        console.print(_said_of(cfg, data, held_out))
    if getattr(rank_zero_only, "rank", 0) != 0:
        base, model = load_model(cfg, device)
        fit(cfg, model, data, device, None, checkpoints, resumed and resumed / "last.ckpt")
        return None

    with tracked_run(cfg.tracking, cfg, checkpoints, cfg.resume) as run:
        with phases("load", f"{cfg.model.name}, quantization {cfg.quantization.type}, on {device}"):
            base, model = load_model(cfg, device)
        run.tags(
            {
                "wikillama.base_model": base.id,
                "wikillama.base_weights_hash": base.weights_hash,
                "wikillama.data_fingerprint": data.prepared.facts.fingerprint,
            }
        )
        run.metrics(
            {
                f"data/{split}_cut_{cut}": n
                for split in ("train", "valid")
                for cut, n in getattr(data, split).cuts().items()
            }
        )
        run.artifacts(write_label_report(output / LABEL_REPORT, data.prepared, base.tokenizer, cfg.prompt), "data")
        if cfg.model.weights == "random":
            run.tags({"wikillama.weights": "random: figures of speed and memory only"})
        results: dict[str, SystemResult] = {}
        if cfg.evaluation.base:
            with phases("score base", _asked(cfg, held_out)):
                results["base"] = _score(cfg, _system(cfg, model, base, None), held_out, run)
        count = sum(p.numel() for p in adapters.trainable(model).values())
        with phases("fit", f"{count:,} parameters on {len(data.train)} turns"):
            fitted = fit(
                cfg, model, data, device, run.lightning_logger(), checkpoints, resumed and resumed / "last.ckpt"
            )
        folder = _export(cfg, base, model, output / ADAPTER)
        size = sum(f.stat().st_size for f in folder.glob("*.safetensors")) / _MB
        with phases("score tuned", _asked(cfg, held_out)):
            results["tuned"] = _score(cfg, _system(cfg, model, base, folder), held_out, run)
        with phases("register", cfg.tracking.register_as or "adapter logged, not registered"):
            run.metrics(_figures(cfg, fitted, count, size, results, device, phases))
            run.artifacts(folder, ADAPTER)
            version = _register(cfg, run, base, data, results["tuned"], size)
            found = _evaluation(cfg, results)
            run.artifacts(write_report(found, output / "report").parent, "report")
        trained = Trained(run.id, results, fitted, count, size, version)
        _print_summary(cfg, trained, found, device, phases)
    return trained


def read_data(cfg: TrainConfig) -> tuple[WowDataModule, list[Example]]:
    """Train and valid, encoded, and the held-out turns of the suite."""
    with download_bar("corpus") as progress:
        located = locate(cfg.data, cfg.cache_dir, progress)
    with StageBars("train, valid") as bars:
        data = WowDataModule(
            located,
            cfg.knowledge,
            cfg.prompt,
            cfg.packing,
            tokenizer_source(cfg.model, cfg.cache_dir),
            cfg.trainer,
            cfg.seed,
            cfg.cache_dir,
            advance=bars,
        )
        data.setup()
    assert cfg.suite.split is not None  # `config.rules.check_train` saw to it
    return data, load_examples(located, cfg.knowledge, cfg.suite.split, cfg.seed)


def _said_of(cfg: TrainConfig, data: WowDataModule, held_out: list[Example]) -> str:
    said = f"  train {len(data.train)} turns, valid {len(data.valid)}, held out {len(held_out)}"
    facts, cut = data.prepared.facts, data.train.cuts()
    if any(cut.values()):
        said += f"; over {cfg.data.max_length} tokens: history cut in {cut['history']}, prompt cut in {cut['prompt']}"
    if facts.bad_rows:
        said += f"; {facts.bad_rows} bad rows left out, see {data.prepared.quarantine}"
    return said


def load_model(cfg: TrainConfig, device: torch.device) -> tuple[Base, PeftModel | LlamaForCausalLM]:
    """The base, and on it what is to be trained."""
    dtype = resolve_dtype(cfg.model, device, all_weights_trained=cfg.peft.method == "none")
    base = load_base(cfg.model, cfg.quantization, device, dtype, cfg.cache_dir)
    return base, adapters.attach(base.model, cfg.peft, base.id)


def _system(cfg: TrainConfig, model: PeftModel | LlamaForCausalLM, base: Base, adapter: Path | None) -> System:
    """The model as it stands, to be asked and scored.

    The base is asked with fresh LoRA weights in place: they add exactly nothing, since B is zero.
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


def _score(cfg: TrainConfig, system: System, held_out: list[Example], run: TrackedRun) -> SystemResult:
    found, predictions = score(system, held_out, cfg.evaluation, progress=bar(system.name))
    suite = cfg.suite.name if system.name == "tuned" else f"{cfg.suite.name}/{system.name}"
    run.metrics(found.logged(suite))
    run.json_lines(predictions, f"{suite}/predictions.jsonl")
    result = SystemResult(system.name, Costs(hardware()), metrics=found.metrics)
    if cfg.evaluation.questions is None:
        return result
    questions = stratified(load_questions(), cfg.evaluation.questions)
    knowledge = cfg.knowledge.for_split(cfg.suite.split or "")
    result = replace(result, answers=ask(system, questions, knowledge, cfg.evaluation, LexicalJudge()))
    asked = QUESTIONS_SUITE if system.name == "tuned" else f"{QUESTIONS_SUITE}/{system.name}"
    run.metrics(dict(zip((f"{asked}/{label}" for label in LABELS), map(float, result.counts), strict=True)))
    run.json_lines(result.answers, f"{asked}/answers.jsonl")
    return result


def _export(cfg: TrainConfig, base: Base, model: PeftModel | LlamaForCausalLM, folder: Path) -> Path:
    """The adapter folder: weights in PEFT's layout, tokenizer, and the recipe to be the same system again."""
    adapters.save(model, folder)
    base.tokenizer.save_pretrained(folder)
    Recipe(
        model=cfg.model,
        base_id=base.id,
        base_weights_hash=base.weights_hash,
        dtype=str(base.dtype).removeprefix("torch."),
        quantization=cfg.quantization,
        peft=cfg.peft,
        knowledge=cfg.knowledge,
        prompt=cfg.prompt,
        max_length=cfg.data.max_length,
        max_new_tokens=cfg.evaluation.max_new_tokens,
    ).write(folder)
    return folder


def _asked(cfg: TrainConfig, held_out: list[Example]) -> str:
    questions = f", {cfg.evaluation.questions} questions" if cfg.evaluation.questions else ""
    return f"{len(held_out)} turns of {cfg.suite.name}{questions}"


def _evaluation(cfg: TrainConfig, results: dict[str, SystemResult]) -> Evaluation:
    return Evaluation(
        suite=cfg.suite.name + (f" and {QUESTIONS_SUITE}" if cfg.evaluation.questions else ""),
        knowledge=cfg.knowledge.for_split(cfg.suite.split or "").mode,
        judge=LexicalJudge().name if cfg.evaluation.questions else None,
        systems=tuple(results.values()),
        provenance=provenance(cfg.evaluation, cfg.seed),
    )


def _figures(
    cfg: TrainConfig,
    fitted: FitResult,
    count: int,
    size: float,
    results: dict[str, SystemResult],
    device: torch.device,
    phases: Phases,
) -> dict[str, float]:
    figures = {
        "adapter/params": float(count),
        "adapter/size_mb": size,
        "memory/peak_job_gb": peak_memory_gb(device),
        "train/mean_tokens_per_s": fitted.tokens_per_s,
        "val/best_loss": fitted.best_val_loss,
        "runtime/init_s": phases.seconds["load"],
        "runtime/fit_s": fitted.seconds,
    }
    if "base" in results:
        before, after = results["base"].metrics, results["tuned"].metrics
        for name in ("ppl", "f1", "kf1"):
            if name in before and name in after:
                figures[f"{cfg.suite.name}/gain_{name}"] = after[name].value - before[name].value
    return figures


def _register(
    cfg: TrainConfig, run: TrackedRun, base: Base, data: WowDataModule, tuned: SystemResult, size: float
) -> Version | None:
    if cfg.tracking.register_as is None:
        return None
    tags = {
        "base_model": base.id,
        "base_weights_hash": base.weights_hash,
        "quantization": cfg.quantization.type + (" double" if cfg.quantization.double_quant else ""),
        "peft": cfg.peft.method,
        "rank": str(cfg.peft.r),
        "target_modules": str(cfg.peft.target_modules),
        "prompt_template": cfg.prompt.template,
        "size_mb": f"{size:.1f}",
        "data_fingerprint": data.prepared.facts.fingerprint,
        **{
            f"{cfg.suite.name}/{name}": f"{tuned.metrics[name].value:.4f}"
            for name in ("ppl", "f1", "kf1")
            if name in tuned.metrics
        },
    }
    return register(run, cfg.tracking.register_as, cfg.tracking.alias, tags)


def _print_summary(cfg: TrainConfig, trained: Trained, found: Evaluation, device: torch.device, phases: Phases) -> None:
    title = f"{cfg.suite.name}, {found.knowledge} knowledge"
    console.print()
    console.print(scores_table(title, {name: result.metrics for name, result in trained.results.items()}))
    if cfg.evaluation.questions:
        console.print(counts_table(replace(found, suite=QUESTIONS_SUITE)))
        if "base" in trained.results:
            console.print(transition_table(trained.results["base"], trained.results["tuned"]))
    facts = Table.grid(padding=(0, 2))
    facts.add_row("adapter", f"{trained.adapter_params:,} parameters, {trained.adapter_mb:.1f} MB")
    facts.add_row("training", f"{trained.fit.steps} steps, {trained.fit.tokens_per_s:,.0f} tokens/s (without padding)")
    facts.add_row("peak memory", f"{trained.fit.peak_gb:.2f} GB in training, {peak_memory_gb(device):.2f} GB in all")
    facts.add_row("wall time", str(phases))
    if trained.version is not None:
        alias = f", alias {trained.version.alias}" if trained.version.alias else ""
        facts.add_row("registered", f"{trained.version.name} version {trained.version.number}{alias}")
    if cfg.model.weights == "random":
        facts.add_row("weights", "random: figures of speed and memory only, scores mean nothing")
    facts.add_row("look further", f"mlflow ui --backend-store-uri {shown(cfg.tracking.uri)}   (run {trained.run_id})")
    system = (
        f"models:/{trained.version.name}/{trained.version.number}"
        if trained.version
        else f"runs:/{trained.run_id}/{ADAPTER}"
    )
    facts.add_row("", escape(f"python evaluate.py systems='[base,{system}]' suite=qa200"))
    console.print(facts)
