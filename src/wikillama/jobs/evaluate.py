"""Scores systems on the same held-out turns, in one MLflow run."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import seed_everything
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.schema import EvaluateConfig, PromptConfig
from wikillama.data.corpus import load_examples
from wikillama.data.locate import locate
from wikillama.evaluation.score import Scores, score
from wikillama.jobs.console import Phases, bar, console, download_bar, quiet_libraries, scores_table
from wikillama.model.base import device_of, load_base, resolve_dtype
from wikillama.tracking.facts import shown
from wikillama.tracking.loading import load_adapter
from wikillama.tracking.run import tracked_run

BASE = "base"


def evaluate(cfg: EvaluateConfig) -> dict[str, Scores]:
    """Score each system and print the table. All see the same turns and the same knowledge; each has its own prompt."""
    quiet_libraries()
    seed_everything(cfg.seed, workers=True, verbose=False)
    phases = Phases()
    with phases("data", f"{cfg.suite.split} of {cfg.data.name}, {cfg.knowledge.mode} knowledge"):
        with download_bar("corpus") as progress:
            located = locate(cfg.data, cfg.cache_dir, progress)
        held_out = load_examples(located, cfg.knowledge, cfg.suite.split, cfg.seed)
    found: dict[str, Scores] = {}
    output = Path(HydraConfig.get().runtime.output_dir)
    with tracked_run(cfg.tracking, cfg, output) as run:
        for system in cfg.systems:
            with phases(system, f"{len(held_out)} turns"):
                model, tokenizer, prompt, max_length = _system(cfg, system)
                found[system], predictions = score(
                    model, tokenizer, held_out, prompt, max_length, cfg.evaluation, progress=bar(system)
                )
            name = f"{cfg.suite.name}/{_metric_name(system)}"
            run.metrics(found[system].metrics(name))
            run.json_lines(predictions, f"{name}/predictions.jsonl")
            del model
        console.print()
        title = f"{cfg.suite.name}: {len(held_out)} turns, {cfg.knowledge.mode} knowledge"
        console.print(scores_table(title, found))
        store = shown(cfg.tracking.uri)
        console.print(f"wall time     {phases}\nlook further  mlflow ui --backend-store-uri {store}   (run {run.id})")
    return found


def _system(
    cfg: EvaluateConfig, system: str
) -> tuple[PeftModel | LlamaForCausalLM, PreTrainedTokenizerBase, PromptConfig, int]:
    """A system's model, tokenizer, prompt and context. An adapter brings all of them, the base takes the job's."""
    if system != BASE:
        bot = load_adapter(system, cfg.tracking.uri, cfg.accelerator, cfg.cache_dir)
        return bot.model, bot.tokenizer, bot.recipe.prompt, bot.recipe.max_length
    device = device_of(cfg.accelerator)
    base = load_base(cfg.model, cfg.quantization, device, resolve_dtype(cfg.model, device), cfg.cache_dir)
    return base.model, base.tokenizer, cfg.prompt, cfg.data.max_length


def _metric_name(system: str) -> str:
    """A system as a part of an MLflow metric's name, which allows no colon and no @."""
    return system.replace(":/", "").replace("@", " ").strip("/")
