"""The adapter as the next version of the registered model."""

from pathlib import Path

from wikillama.config.schema import TrainConfig
from wikillama.data.datamodule import WowDataModule
from wikillama.evaluation.judging.lexical import LexicalJudge
from wikillama.evaluation.results import SystemResult
from wikillama.jobs.asking import QUESTIONS_SUITE
from wikillama.model.recipe import read_recipe
from wikillama.tracking.registry import Version, register
from wikillama.tracking.registry.evaluations import systems_tag
from wikillama.tracking.registry.tags import FINGERPRINT, count_tags, metric_tags, version_tags
from wikillama.tracking.run import TrackedRun


def register_adapter(
    cfg: TrainConfig, run: TrackedRun, folder: Path, data: WowDataModule, tuned: SystemResult
) -> Version | None:
    """Register the adapter in `folder`, which `run` holds, with tags and a card; None where nothing is registered."""
    if cfg.tracking.register_as is None:
        return None
    recipe = read_recipe(folder)
    mode = cfg.knowledge.for_split(cfg.suite.split or "").mode
    tags = version_tags(recipe, folder, cfg.cache_dir, "train", data.prepared.facts.fingerprint)
    run.tags(systems_tag([("tuned", "", tags[FINGERPRINT])]))  # as `score_system` names them
    tags |= metric_tags(cfg.suite.name, mode, tuned.metrics)
    if tuned.answers:
        tags |= count_tags(QUESTIONS_SUITE, mode, tuned.counts, LexicalJudge().name)
    return register(run, cfg.tracking.register_as, cfg.tracking.alias, tags, recipe)
