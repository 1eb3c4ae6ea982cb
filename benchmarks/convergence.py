"""Compares what kernels learn: the same adapters, data and seeds under the reference, fused and fp8 training steps.

python benchmarks/convergence.py --data godel_wow_valid.jsonl     real dialogues: GODEL's file of Valid Seen
python benchmarks/convergence.py --data FOLDER                    the original train.json, ...; default: wow_mini
python benchmarks/convergence.py --model FOLDER                   a base in Hugging Face layout; default: SmolLM2-135M
python benchmarks/convergence.py --jobs 8                         so many runs at once: small models wait for the host
python benchmarks/convergence.py --device cpu --steps 3 --seeds 0 --kernels reference,fused --row 512

NF4 base, LoRA on all linear layers, AdamW at a constant rate, packed rows. A seed decides on the adapters' start and
the order of rows. Reference runs of several seeds show how far runs lie apart anyway, and one that is run twice, how
far the GPU alone drives them; the validation loss is the reference's, whatever the training was. At fresh adapters, and
after some steps of the reference, losses and gradients of some rows are compared with the reference's and with
float32's. The losses say something of kernels only: splits are small, and with GODEL's file they are parts of Valid
Seen.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from convergence_parts.bench import Settings, facts, open_bench, parities, plan, run
from convergence_parts.report import compared, plot

from wikillama.config.paths import CONF, ROOT, public
from wikillama.config.schema import ModelConfig
from wikillama.model.files import model_folder
from wikillama.tracking.facts import code_tags, environment_tags

KERNELS = ("reference", "fused", "fp8")


def base_folder() -> Path:
    """The folder of the embedded base, converted where it is not yet."""
    config = yaml.safe_load((CONF / "model" / "smollm2_135m.yaml").read_text(encoding="utf-8"))
    return model_folder(ModelConfig(**config), os.environ.get("WIKILLAMA_CACHE", "~/.cache/wikillama"))


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
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each in a process of its own")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--budget", type=float, default=3600, help="seconds after which no run begins")
    parser.add_argument("--record", type=Path, default=records / "convergence.json")
    arguments = parser.parse_args()
    if unknown := set(arguments.kernels) - set(KERNELS):
        parser.error(f"--kernels: {', '.join(unknown)} unknown; there are {', '.join(KERNELS)}")
    if "reference" not in arguments.kernels:
        parser.error("--kernels: reference is what the others are compared with")
    return arguments


def main() -> int:
    started, arguments = time.time(), parsed()
    settings = Settings(
        (arguments.model or base_folder()).absolute(), arguments.data.absolute(), tuple(arguments.kernels),
        arguments.steps, arguments.row, arguments.valid, arguments.rank, arguments.lr, arguments.device,
        started + arguments.budget,
    )  # fmt: skip
    record: dict[str, Any] = {
        "what": "training losses under each set of kernels, from the same adapters on the same rows",
        "command": public(" ".join(["python", "benchmarks/convergence.py", *sys.argv[1:]])),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": arguments.steps, "rank": arguments.rank, "lr": arguments.lr, "parity": {}, "runs": [],
        **code_tags(), **environment_tags(),
    }  # fmt: skip
    first, planned = arguments.seeds[0], plan(arguments.kernels, arguments.seeds)

    def write() -> None:
        record["runs"].sort(key=lambda run: planned.index((run["kernels"], run["seed"])))
        record["compared"] = compared(record["runs"])
        arguments.record.parent.mkdir(parents=True, exist_ok=True)
        arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, spawn, open_bench, (settings,)) as pool:
        known, compared_steps = pool.submit(facts), pool.submit(parities, first)
        runs = [pool.submit(run, name, seed) for name, seed in planned]
        record |= known.result()
        for future in as_completed(runs):
            done = future.result()
            record["runs"].append(done)
            said = done.get("error") or f"loss {done['final_loss']}, validation {done['validation_loss']}"
            print(f"{time.time() - started:6.1f} s  {done['kernels']}, seed {done['seed']}: {said}", flush=True)
            write()
        record["parity"] = compared_steps.result()
        write()
    plot(record["runs"], arguments.record.with_suffix(".png"))
    print(json.dumps({"parity": record["parity"], "compared": record["compared"]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
