"""What a finished run says of itself on its page in MLflow."""

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from wikillama.config.schema import TrainConfig
from wikillama.data.label_report import LABEL_REPORT
from wikillama.jobs.asking import QUESTIONS_SUITE
from wikillama.jobs.tables import with_interval
from wikillama.jobs.train.samples import SAMPLES
from wikillama.jobs.train.summary import Trained
from wikillama.tracking import links
from wikillama.tracking.description import about
from wikillama.tracking.registry import ADAPTER
from wikillama.tracking.run import TrackedRun

_SCORES = (("perplexity", "ppl", ".2f"), ("F1", "f1", ".3f"), ("knowledge-F1", "kf1", ".3f"))


def description(cfg: TrainConfig, run: TrackedRun, trained: Trained) -> str:
    """Markdown: what the run is, links into what it has, and what it came to.

    MLflow shows four lines until one asks for more, and the figures stand in its table of runs, too.
    """
    return "\n\n".join((about(cfg), _links(cfg, run, trained), _figures(cfg, trained), _scores(cfg, trained)))


def _figures(cfg: TrainConfig, trained: Trained) -> str:
    """The headline in one line."""
    fitted, metrics = trained.fit, trained.results["tuned"].metrics
    scores = [f"{label} **{metrics[name].value:{form}}**" for label, name, form in _SCORES if name in metrics]
    if cfg.evaluation.questions:
        counts = trained.results["tuned"].counts
        scores.append(f"{counts[0]} of {sum(counts)} questions right")
    size = f"{trained.adapter_params:,} parameters, {trained.adapter_mb:.1f} MB"
    speed = f"{fitted.steps} steps at {fitted.tokens_per_s:,.0f} tokens/s, {fitted.peak_gb:.2f} GB peak"
    return f"{', '.join(scores)}; {size}; {speed}."


def _links(cfg: TrainConfig, run: TrackedRun, trained: Trained) -> str:
    """What the run holds, each entry leading to its page."""
    found = run.client.get_run(run.id)
    experiment = found.info.experiment_id
    files = {
        "report": "report/report.html",
        "sample replies step by step": SAMPLES if cfg.evaluation.samples else None,
        "labels": f"data/{LABEL_REPORT}",
        "confusion matrices": "report/confusion" if cfg.evaluation.questions else None,
        "predictions": cfg.suite.name,
        "adapter": ADAPTER,
        "configuration": "config.yaml",
    }
    pages = {text: links.artifact_page(experiment, run.id, path) for text, path in files.items() if path is not None}
    if trained.version is not None:
        name, number = trained.version.name, trained.version.number
        pages[f"registered as {name} version {number}"] = links.version_page(name, number)
    parent = found.data.tags.get(MLFLOW_PARENT_RUN_ID)
    if parent is not None:
        pages["sweep"] = links.run_page(experiment, parent)
    return "Look at: " + " · ".join(f"[{text}]({page})" for text, page in pages.items())


def _scores(cfg: TrainConfig, trained: Trained) -> str:
    """A table of scores with 95 % intervals, a column a system."""
    names = list(trained.results)
    rows = [
        [label, *(with_interval(trained.results[name].metrics.get(metric), form) for name in names)]
        for label, metric, form in _SCORES
    ]
    if cfg.evaluation.questions:
        counts = (trained.results[name].counts for name in names)
        rows.append([f"{QUESTIONS_SUITE} correct", *(f"{count[0]} of {sum(count)}" for count in counts)])
    lines = [f"| {' | '.join(row)} |" for row in ([cfg.suite.name, *names], *rows)]
    return "\n".join((lines[0], "|" + " --- |" * (len(names) + 1), *lines[1:]))
