"""What runs of convergence.py come to: how far kernels and seeds lie apart, and a plot."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from convergence_parts.bench import AGAIN, LAST

Run = dict[str, Any]


def compared(runs: Sequence[Run]) -> dict[str, Any]:
    """How far kernels lie from the reference at the same seed, and seeds and repeated runs from each other."""
    done = [run for run in runs if "error" not in run]
    reference = _references(done)
    report: dict[str, Any] = {}
    for key in ("final_loss", "validation_loss"):
        values = [run[key] for run in reference.values()]
        gaps: dict[str, dict[str, float]] = {}
        for run in done:
            if run["kernels"] != "reference" and run["seed"] in reference and run is not reference[run["seed"]]:
                gap = run[key] - reference[run["seed"]][key]
                gaps.setdefault(run["kernels"], {})[str(run["seed"])] = round(gap, 5)
        report[key] = {
            "reference_mean": round(mean(values), 5) if values else None,
            "reference_deviation_of_seeds": round(stdev(values), 5) if len(values) > 1 else None,
            "less_reference_at_same_seed": gaps,
            "mean_less_reference": {name: round(mean(of.values()), 5) for name, of in gaps.items()},
        }
    return report


def plot(runs: Sequence[Run], file: Path) -> None:
    """Running means of the curves, and beside them how far each lies from the reference of its seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = [run for run in runs if "error" not in run]
    reference = {seed: run["curve"] for seed, run in _references(done).items()}
    colours = {"reference": "black", "reference again": "grey", "fused": "tab:blue", "fp8": "tab:orange"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
    for number, run in enumerate(done):
        name = run["kernels"]
        label = name if all(r["kernels"] != name for r in done[:number]) else None
        left.plot(smooth(run["curve"]), color=colours[name], alpha=0.7, linewidth=1, label=label)
        if name != "reference" and run["seed"] in reference and run["curve"] is not reference[run["seed"]]:
            gaps = [a - b for a, b in zip(run["curve"], reference[run["seed"]], strict=True)]
            right.plot(smooth(gaps), color=colours[name], alpha=0.7, linewidth=1, label=label)
    left.set(xlabel="step", ylabel="loss, nats a token", title=f"training loss, mean of {LAST} steps")
    right.set(xlabel="step", ylabel="nats a token", title="less the reference of the same seed")
    right.axhline(0, color="black", linewidth=0.5)
    for axes in (left, right):
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _references(done: Sequence[Run]) -> dict[int, Run]:
    """The reference run of each seed; where it is missing, the one that repeats it."""
    repeated = {run["seed"]: run for run in done if run["kernels"] == "reference" + AGAIN}
    return repeated | {run["seed"]: run for run in done if run["kernels"] == "reference"}


def smooth(values: Sequence[float]) -> list[float]:
    return [mean(values[max(0, i - LAST + 1) : i + 1]) for i in range(len(values))]
