"""The main job from end to end: data, base, score, fit, export, score again, register."""

import gc
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from wikillama.config.schema import TrainConfig
from wikillama.data.datamodule import WowDataModule
from wikillama.data.label_report import LABEL_REPORT, write_label_report
from wikillama.evaluation.report import write_report
from wikillama.evaluation.results import SystemResult
from wikillama.jobs.console import Phases, console, quiet_libraries
from wikillama.jobs.train.describe import description
from wikillama.jobs.train.export import export
from wikillama.jobs.train.load import load_model, read_data, said_of
from wikillama.jobs.train.register import register_adapter
from wikillama.jobs.train.samples import samples
from wikillama.jobs.train.score import asked_of, evaluation_of, score_system, system_of
from wikillama.jobs.train.summary import Trained, figures, print_summary
from wikillama.model import adapters
from wikillama.model.base import Base, device_of
from wikillama.tracking.registry import ADAPTER
from wikillama.tracking.registry.tags import weights_mb
from wikillama.tracking.remote import kept
from wikillama.tracking.run import TrackedRun, checkpoints_of, tracked_run
from wikillama.training.fit import fit
from wikillama.training.step import ready_step


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
    resume_from = resumed and resumed / "last.ckpt"

    with phases("data", f"{cfg.data.name}, grounded on {cfg.knowledge.mode} knowledge"):
        data, held_out = read_data(cfg)
        console.print(said_of(cfg, data, held_out))
    if getattr(rank_zero_only, "rank", 0) != 0:
        base, model = load_model(cfg, device)
        step = ready_step(cfg, model, data, device)
        fit(step.cfg, model, data, device, None, checkpoints, resume_from, loss=step.kernels.loss)
        return None

    with tracked_run(cfg.tracking, cfg, checkpoints, cfg.resume) as run:
        with phases("load", f"{cfg.model.name}, quantization {cfg.quantization.type}, on {device}"):
            base, model = load_model(cfg, device)
        _log_inputs(cfg, run, base, data, output)
        results: dict[str, SystemResult] = {}
        if cfg.evaluation.base:
            with phases("score base", asked_of(cfg, held_out)), adapters.speaking_as(model, None):
                results["base"] = score_system(cfg, system_of(cfg, model, base, None), held_out, run)
        count = sum(p.numel() for p in adapters.trainable(model).values())
        with phases("fit", f"{count:,} parameters on {len(data.train)} turns"):
            step = ready_step(cfg, model, data, device)
            for remark in step.remarks:
                console.print(f"  {remark}")
            run.tags({"wikillama.kernels": step.kernels.name})
            watching = samples(cfg, model, base, data, run)
            logger, loss = run.lightning_logger(), step.kernels.loss
            fitted = fit(step.cfg, model, data, device, logger, checkpoints, resume_from, watching, loss)
            if device.type == "cuda":
                error = step.forecast.gb / fitted.peak_gb - 1
                run.metrics({"memory/forecast_gb": step.forecast.gb, "memory/forecast_error": error})
            del step, loss, logger, watching
            gc.collect()  # Lightning's trainer, and with it the optimizer's states, hang in a ring of references
        folder = export(cfg, base, model, output / ADAPTER)
        size = weights_mb(folder)
        with kept(folder), phases("score tuned", asked_of(cfg, held_out)):
            results["tuned"] = score_system(cfg, system_of(cfg, model, base, folder), held_out, run)
        with kept(folder), phases("register", cfg.tracking.register_as or "adapter logged, not registered"):
            run.metrics(figures(cfg, fitted, count, size, results, device, phases))
            run.artifacts(folder, ADAPTER)
            version = register_adapter(cfg, run, folder, data, results["tuned"])
            found = evaluation_of(cfg, results)
            run.artifacts(write_report(found, output / "report").parent, "report")
            trained = Trained(run.id, results, fitted, count, size, version)
            run.describe(description(cfg, run, trained))
        print_summary(cfg, trained, found, device, phases)
    return trained


def _log_inputs(cfg: TrainConfig, run: TrackedRun, base: Base, data: WowDataModule, output: Path) -> None:
    """What the run learns from: base and data by hash, how many examples were cut, and the report of labels."""
    run.tags(
        {
            "wikillama.base_model": base.id,
            "wikillama.base_weights_hash": base.weights_hash,
            "wikillama.data_fingerprint": data.prepared.facts.fingerprint,
        }
    )
    run.metrics(
        {f"data/{split}_cut_{cut}": n for split in ("train", "valid") for cut, n in getattr(data, split).cuts().items()}
    )
    run.artifacts(write_label_report(output / LABEL_REPORT, data.prepared, base.tokenizer, cfg.prompt), "data")
    if cfg.model.weights == "random":
        run.tags({"wikillama.weights": "random: figures of speed and memory only"})
