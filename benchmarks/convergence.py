"""Compares what kernels learn: the same adapters, data and seeds under the reference, fused and fp8 training steps.

python benchmarks/convergence.py --data godel_wow_valid.jsonl     real dialogues: GODEL's file of Valid Seen
python benchmarks/convergence.py --data FOLDER                    the original train.json, ...; default: wow_mini
python benchmarks/convergence.py --model FOLDER                   a base in Hugging Face layout; default: SmolLM2-135M
python benchmarks/convergence.py --device cpu --steps 3 --seeds 0 --kernels reference,fused --row 512

NF4 base, LoRA on all linear layers, AdamW at a constant rate, packed rows. A seed decides on the adapters' start and
the order of rows. Reference runs of several seeds show how far runs lie apart anyway, and one that is run twice, how
far the GPU alone drives them; the validation loss is the reference's, whatever the training was. Before training, and
at the adapters of the first reference run, gradients of one row are compared with the reference's and with float32's.
The losses say something of kernels only: splits are small, and with GODEL's file they are parts of Valid Seen.
"""

import argparse
import gc
import inspect
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import yaml
from convergence_parts.data import Rows, read
from convergence_parts.parity import Parity, exact, gradient, parity
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from train_step_parts.ours import load, loss_of
from train_step_parts.timing import KEEP
from train_step_parts.work import on_device

from wikillama.config.paths import CONF, ROOT, public
from wikillama.config.schema import ModelConfig
from wikillama.data.batching import PackingCollator
from wikillama.model.files import model_folder
from wikillama.tracking.facts import code_tags, environment_tags

KERNELS = ("reference", "fused", "fp8")
LAST = 20  # steps whose mean is a run's final loss
CLIP = 1.0  # of the gradient's norm, as train.py


@dataclass
class Bench:
    """The one model that all runs train, and what they share."""

    arguments: argparse.Namespace
    device: torch.device
    model: Any
    collate: PackingCollator
    rows: Rows

    def batch(self, row: list[Any]) -> dict[str, torch.Tensor]:
        return on_device(self.collate([row]), self.device)

    def fresh(self, seed: int) -> None:
        """New adapters, as that seed makes them."""
        torch.manual_seed(seed)
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.reset_lora_parameters("default", init_lora_weights=True)  # type: ignore[no-untyped-call]

    def order(self, seed: int, steps: int) -> list[int]:
        """Places of rows: one shuffled pass after another."""
        draw = random.Random(seed)
        passes = (draw.sample(range(len(self.rows.train)), len(self.rows.train)) for _ in itertools.count())
        return list(itertools.islice(itertools.chain.from_iterable(passes), steps))

    def validation(self) -> float:
        """Mean loss of a target token on the held-out turns, by the reference."""
        loss = loss_of("reference", self.model, KEEP, self.device)
        self.model.eval()
        total, targets = 0.0, 0
        with torch.no_grad():
            for row in self.rows.valid:
                summed, number = loss(self.model, self.batch(row))
                total, targets = total + float(summed), targets + int(number)
        self.model.train()
        return total / targets


def train(bench: Bench, kernels: str, seed: int) -> dict[str, Any]:
    """One run: its curve, what it comes to, and its time."""
    arguments, device = bench.arguments, bench.device
    bench.fresh(seed)
    loss = loss_of(kernels, bench.model, KEEP, device)
    parameters = [p for p in bench.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=arguments.lr, weight_decay=0.0)
    curve = []
    started = time.perf_counter()
    for step, place in enumerate(bench.order(seed, arguments.steps)):
        torch.manual_seed(seed * 1_000_003 + step)  # rounding by chance follows the step, as in training
        total, targets = loss(bench.model, bench.batch(bench.rows.train[place]))
        loss_of_token = total / targets
        loss_of_token.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        curve.append(loss_of_token.detach())
    losses = torch.stack(curve).double().tolist()
    seconds = time.perf_counter() - started
    return {
        "kernels": kernels,
        "seed": seed,
        "final_loss": round(mean(losses[-LAST:]), 5),
        "validation_loss": round(bench.validation(), 5),
        "seconds": round(seconds, 2),
        "curve": [round(value, 5) for value in losses],
    }


def plan(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Kernels and seed of each run: first what is needed most."""
    runs = [(kernels, seed) for seed in arguments.seeds for kernels in arguments.kernels]
    return [*runs, ("reference again", arguments.seeds[0])] if "reference" in arguments.kernels else runs


def compared(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far kernels lie from the reference at the same seed, and seeds and repeated runs from each other."""
    done = [run for run in runs if "error" not in run]
    reference = {run["seed"]: run for run in done if run["kernels"] == "reference"}
    report: dict[str, Any] = {}
    for key in ("final_loss", "validation_loss"):
        values = [run[key] for run in reference.values()]
        gaps: dict[str, dict[str, float]] = {}
        for run in done:
            if run["kernels"] != "reference" and run["seed"] in reference:
                gap = run[key] - reference[run["seed"]][key]
                gaps.setdefault(run["kernels"], {})[str(run["seed"])] = round(gap, 5)
        report[key] = {
            "reference_mean": round(mean(values), 5) if values else None,
            "reference_deviation_of_seeds": round(stdev(values), 5) if len(values) > 1 else None,
            "reference_range_of_seeds": round(max(values) - min(values), 5) if values else None,
            "less_reference_at_same_seed": gaps,
            "mean_less_reference": {name: round(mean(of.values()), 5) for name, of in gaps.items()},
        }
    return report


def parities(bench: Bench, folder: Path, kernels: Sequence[str]) -> dict[str, Parity | dict[str, str]]:
    """Losses and gradients of one row, at the model's present adapters: each kernel set, and float32."""
    batch = bench.batch(bench.rows.train[0])
    truth = exact(folder, bench.device, bench.arguments.rank, bench.model)
    wanted = gradient(loss_of("reference", truth, KEEP, torch.device("cpu")), truth, batch)
    del truth
    gc.collect()
    reference = gradient(loss_of("reference", bench.model, KEEP, bench.device), bench.model, batch)
    found: dict[str, Parity | dict[str, str]] = {"reference": parity(reference, reference, wanted)}
    for name in kernels:
        if name != "reference":
            try:
                own = gradient(loss_of(name, bench.model, KEEP, bench.device), bench.model, batch)
                found[name] = parity(own, reference, wanted)
            except Exception as error:
                found[name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    return found


def plot(runs: Sequence[dict[str, Any]], file: Path) -> None:
    """Running means of the curves, and beside them how far each lies from the reference of its seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = [run for run in runs if "error" not in run]
    reference = {run["seed"]: run["curve"] for run in done if run["kernels"] == "reference"}
    colours = {"reference": "black", "reference again": "grey", "fused": "tab:blue", "fp8": "tab:orange"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
    for number, run in enumerate(done):
        name = run["kernels"]
        label = name if all(r["kernels"] != name for r in done[:number]) else None
        left.plot(smooth(run["curve"]), color=colours[name], alpha=0.7, linewidth=1, label=label)
        if name != "reference" and run["seed"] in reference:
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


def smooth(values: Sequence[float]) -> list[float]:
    return [mean(values[max(0, i - LAST + 1) : i + 1]) for i in range(len(values))]


def base_folder() -> Path:
    """The folder of the embedded base, converted where it is not yet."""
    config = yaml.safe_load((CONF / "model" / "smollm2_135m.yaml").read_text(encoding="utf-8"))
    return model_folder(ModelConfig(**config), os.environ.get("WIKILLAMA_CACHE", "~/.cache/wikillama"))


def allow_grouped_heads() -> None:
    """Have torch 2.11's variable-length attention take fewer key heads than query heads, by repeating them.

    It lacks the option `enable_gqa` that the fused layers pass from torch 2.12 on; this is for measuring there only.
    """
    from wikillama.model.kernels import attention

    plain = attention.varlen_attn  # type: ignore[attr-defined]
    if "enable_gqa" in inspect.signature(plain).parameters:
        return

    def repeated(q: Any, k: Any, v: Any, *others: Any, enable_gqa: bool = False, **options: Any) -> Any:
        groups = q.shape[1] // k.shape[1]
        k, v = (part.repeat_interleave(groups, 1) if groups > 1 else part for part in (k, v))
        return plain(q, k, v, *others, **options)

    attention.varlen_attn = repeated  # type: ignore[attr-defined,assignment]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    records = ROOT / "benchmarks" / "records"
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "wow_mini")
    parser.add_argument("--kernels", type=lambda text: text.split(","), default=list(KERNELS))
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--row", type=int, default=2048, help="tokens of a packed row")
    parser.add_argument("--valid", type=int, default=200, help="held-out turns")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--budget", type=float, default=540, help="seconds after which no run begins")
    parser.add_argument("--record", type=Path, default=records / "convergence.json")
    arguments = parser.parse_args()
    if unknown := set(arguments.kernels) - set(KERNELS):
        parser.error(f"--kernels: {', '.join(unknown)} unknown; there are {', '.join(KERNELS)}")
    return arguments


def main() -> int:
    started, arguments = time.monotonic(), parsed()
    allow_grouped_heads()
    device = torch.device("cuda", 0) if arguments.device == "cuda" else torch.device("cpu")
    folder = arguments.model or base_folder()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    base, model = load(folder, device, dtype, arguments.rank)
    assert isinstance(model, PeftModel)  # noqa: S101
    rows = read(arguments.data, base.tokenizer, arguments.row, arguments.valid)
    bench = Bench(arguments, device, model.train(), PackingCollator(base.tokenizer.pad_token_id), rows)
    record: dict[str, Any] = {
        "what": "training losses under each set of kernels, from the same adapters on the same rows",
        "command": public(" ".join(["python", "benchmarks/convergence.py", *sys.argv[1:]])),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base.id,
        "base_weights_hash": base.weights_hash,
        "data": {"name": arguments.data.name, **rows.facts},
        "steps": arguments.steps,
        "rank": arguments.rank,
        "lr": arguments.lr,
        "parity": {},
        "runs": [],
        **code_tags(),
        **environment_tags(),
    }

    def write() -> None:
        record["compared"] = compared(record["runs"])
        arguments.record.parent.mkdir(parents=True, exist_ok=True)
        arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    bench.fresh(arguments.seeds[0])
    record["parity"]["fresh adapters"] = parities(bench, folder, arguments.kernels)
    for name, seed in plan(arguments):
        if time.monotonic() - started > arguments.budget:
            run: dict[str, Any] = {"kernels": name, "seed": seed, "error": "the time was over"}
        else:
            try:
                run = train(bench, name.removesuffix(" again"), seed) | {"kernels": name}
            except Exception as error:
                run = {"kernels": name, "seed": seed, "error": f"{type(error).__name__}: {str(error)[:200]}"}
        record["runs"].append(run)
        said = run.get("error") or f"loss {run['final_loss']}, validation {run['validation_loss']}, {run['seconds']} s"
        print(f"{time.monotonic() - started:6.1f} s  {name}, seed {seed}: {said}", flush=True)
        if name == "reference" and "trained adapters" not in record["parity"] and "error" not in run:
            record["parity"]["trained adapters"] = parities(bench, folder, arguments.kernels)
        write()
    plot(record["runs"], arguments.record.with_suffix(".png"))
    print(json.dumps({"parity": record["parity"], "compared": record["compared"]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
