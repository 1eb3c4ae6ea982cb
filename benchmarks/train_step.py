"""Measures the training step beside its peers: tokens a second and peak memory of Llama-2-7B's shape in NF4 with LoRA.

python benchmarks/train_step.py                                  packed rows of 8,192 tokens, all stacks: 5 minutes
python benchmarks/train_step.py --settings packed-8192,ragged    ragged batches, too
python benchmarks/train_step.py --stacks fused,unsloth --checkpointing none --settings packed-2048,packed-16384
python benchmarks/train_step.py --device cpu --tiny --settings packed-256    the machinery, on any machine

Needs a GPU of 80 GB or more; peers that are not installed are left out. The weights are random. Stacks are processes of
their own that load side by side and then take turns on the same work, so that a drift of the machine meets all alike;
`--rounds 1` has them come and go one by one, which leaves each the whole memory. Of a stack that fails its reason is
recorded, and where the failure left the device unusable to its process, a fresh one goes on; the record and its table
are written after each turn. TRL is measured on ragged batches, since it pads.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from train_step_parts.process import Process
from train_step_parts.table import compared, markdown, row
from train_step_parts.timing import KEEP, OFFLOAD, RECOMPUTE, ceiling_size
from train_step_parts.work import LLAMA2_7B, TINY, product_weights, row_of

from wikillama.config.paths import ROOT, public
from wikillama.tracking.facts import code_tags

STACKS = {
    "fused": (RECOMPUTE, OFFLOAD, KEEP),
    "unsloth": (OFFLOAD, KEEP),
    "fp8": (RECOMPUTE, OFFLOAD, KEEP),
    "peft": (RECOMPUTE, KEEP),
    "trl": (RECOMPUTE,),
    "reference": (RECOMPUTE, KEEP),
}
PACKAGES = (
    "torch", "triton", "transformers", "peft", "bitsandbytes", "accelerate", "trl", "unsloth", "unsloth_zoo",
    "liger-kernel", "xformers", "flash-attn", "datasets", "safetensors", "numpy",
)  # fmt: skip
LATER_WARMUP = 1  # steps not counted in rounds after the first


@dataclass
class Case:
    """A stack under one setting, and what its turns came to."""

    stack: str
    setting: str
    checkpointing: str
    turns: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    @property
    def process(self) -> str:
        """Which process it runs in: unsloth needs one for each way of checkpointing."""
        return f"{self.stack} {self.checkpointing}" if self.stack == "unsloth" else self.stack

    @property
    def row(self) -> dict[str, Any] | None:
        named = {"stack": self.stack, "setting": self.setting, "checkpointing": self.checkpointing}
        if self.turns:
            cut_off = {"cut_off": self.error} if self.error else {}
            return row(self.stack, self.setting, self.checkpointing, self.turns) | cut_off
        return named | {"error": self.error} if self.error else None


@dataclass
class Run:
    """A run of the benchmark: its processes by name, its cases, its record."""

    arguments: argparse.Namespace
    folder: Path  # of the base model
    scratch: Path
    cases: list[Case]
    facts: dict[str, Any]
    started: float
    ceilings: list[float] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # why a process cannot be started

    def begin(self, name: str) -> Process:
        """The process of that name, started where it does not run yet."""
        if name not in self.processes:
            stack, _, checkpointing = name.partition(" ")
            options = ["--folder", str(self.folder), "--device", self.arguments.device]
            options += ["--rank", str(self.arguments.rank), "--examples", str(self.arguments.examples)]
            options += ["--checkpointing", checkpointing or KEEP, *(["--tiny"] if self.arguments.tiny else [])]
            self.processes[name] = Process(stack, options, self.scratch / name.replace(" ", "-"))
        return self.processes[name]

    def ask(self, name: str, job: list[Any] | None) -> dict[str, Any]:
        """A process's answer to a job, or to being started: `error` in it says why there is none."""
        left = self.started + self.arguments.budget - time.monotonic()
        if left <= 0:
            return {"error": f"the run's {self.arguments.budget:.0f} s were over"}
        if name in self.broken:
            return {"error": self.broken[name]}
        process, limit = self.begin(name), min(left, self.arguments.limit)
        answer: dict[str, Any] = {} if process.ready else process.answer(limit)
        if "error" in answer:
            self.broken[name] = answer["error"]
        elif job is not None:
            answer = process.ask(job, limit)
        if "error" in answer and not process.answers:
            self.end(name)
        return answer

    def end(self, name: str) -> None:
        if name in self.processes:
            self.processes.pop(name).end()

    def end_all(self) -> None:
        for process in self.processes.values():
            process.dismiss()
        for name in list(self.processes):
            self.end(name)

    def write(self) -> None:
        """Write record and table as they stand."""
        arguments = self.arguments
        shape = TINY if arguments.tiny else LLAMA2_7B
        flops = 4.0 * product_weights(shape)
        ceiling = median(self.ceilings) if self.ceilings else None
        rows = compared([r for case in self.cases if (r := case.row) is not None], ceiling, flops)
        record = {
            **self.facts,
            "seconds": round(time.monotonic() - self.started, 1),
            "flops_per_token": flops,
            "ceiling": {
                "dtype": "bfloat16" if arguments.device == "cuda" else "float32",
                "size": ceiling_size(arguments.device),
                "tflops": round(ceiling, 4) if ceiling else None,
                "measured": [round(tflops, 4) for tflops in self.ceilings],
            },
            "rows": rows,
        }
        arguments.record.parent.mkdir(parents=True, exist_ok=True)
        arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        arguments.record.with_suffix(".md").write_text(markdown(record), encoding="utf-8")


def measure(run: Run) -> None:
    """All rounds. Only one process computes at a time."""
    arguments = run.arguments
    if arguments.rounds > 1 and arguments.device == "cuda":
        names = dict.fromkeys(["ceiling", *(case.process for case in run.cases)])
        for name in names:
            run.begin(name)
        for name in names:
            run.ask(name, None)
    for number in range(arguments.rounds):
        warmup = arguments.warmup if number == 0 else LATER_WARMUP
        steps = arguments.steps * (number + 1) // arguments.rounds - arguments.steps * number // arguments.rounds
        answer = run.ask("ceiling", ["", KEEP, 0, 0, 0])
        run.ceilings += [answer["tflops"]] if "tflops" in answer else []
        for place, case in enumerate(run.cases):
            if case.error is None and steps:
                job = [case.setting, case.checkpointing, 1000 * number, warmup, steps]
                answer = run.ask(case.process, job)
                case.error = answer.get("error")
                case.turns += [] if case.error else [answer]
                tell(run, case)
                run.write()
            if number == arguments.rounds - 1 and case.process not in {c.process for c in run.cases[place + 1 :]}:
                run.end(case.process)


def tell(run: Run, case: Case) -> None:
    """One line on what a turn gave."""
    at = f"{time.monotonic() - run.started:6.1f} s  {case.stack}, {case.setting}, {case.checkpointing}: "
    if case.error or (figures := case.row) is None:
        print(f"{at}{case.error}", flush=True)
    else:
        print(f"{at}{figures['real_tokens_per_s']:,.0f} tokens/s, {figures['peak_gb']:.2f} GB", flush=True)


def cases_of(arguments: argparse.Namespace) -> list[Case]:
    """What is to be measured, settings in the order given."""
    cases = []
    for setting in arguments.settings:
        for stack in arguments.stacks:
            for checkpointing in STACKS[stack]:
                case = Case(stack, "ragged" if stack == "trl" else setting, checkpointing)
                if checkpointing in arguments.checkpointing and case not in cases:
                    cases.append(case)
    return cases


def facts_of(arguments: argparse.Namespace) -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    shape = "a tiny Llama's" if arguments.tiny else "Llama-2-7B's"
    return {
        "what": "training steps: NF4 base, double quantization, LoRA on all linear layers, AdamW, one a micro-batch",
        "weights": f"random weights in {shape} shape, NF4, LoRA r={arguments.rank} on all linear layers",
        "command": public(" ".join(["python", "benchmarks/train_step.py", *sys.argv[1:]])),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "dialogues": "log-normal lengths, mean 285 tokens, 48 to 1024, every token a target",
        "ragged_examples": arguments.examples,
        "warmup": arguments.warmup,
        "rounds": arguments.rounds,
        "packages": {"python": sys.version.split()[0], **versions},
        **code_tags(),
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: [word for word in text.split(",") if word]  # noqa: E731 (argparse names a type by its function)
    parser.add_argument("--stacks", type=words, default=list(STACKS), help=",".join(STACKS))
    parser.add_argument("--settings", type=words, default=["packed-8192"], help="ragged, packed-N")
    parser.add_argument("--checkpointing", type=words, default=[RECOMPUTE, OFFLOAD, KEEP], help="of activations")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each stack")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each case, over all rounds")
    parser.add_argument("--warmup", type=int, default=3, help="steps that are not timed, in the first round")
    parser.add_argument("--examples", type=int, default=28, help="dialogues of a ragged micro-batch")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model of two small layers")
    parser.add_argument("--model", type=Path, help="folder of the random base; kept, and made where it is empty")
    parser.add_argument("--limit", type=float, default=180, help="seconds that a load or a turn may take")
    parser.add_argument("--budget", type=float, default=540, help="seconds for everything")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "train_step.json")
    arguments = parser.parse_args()
    for setting in arguments.settings:
        try:
            row_of(setting)
        except ValueError as error:
            parser.error(f"--settings: {error}")
    if unknown := set(arguments.stacks) - set(STACKS):
        parser.error(f"--stacks: {', '.join(unknown)} unknown; there are {', '.join(STACKS)}")
    if unknown := set(arguments.checkpointing) - {RECOMPUTE, OFFLOAD, KEEP}:
        parser.error(f"--checkpointing: {', '.join(unknown)} unknown; there are {RECOMPUTE}, {OFFLOAD}, {KEEP}")
    if arguments.warmup < 1 or arguments.rounds < 1 or arguments.steps < 1:
        parser.error("--warmup, --rounds and --steps are at least 1")
    return arguments


def main() -> int:
    arguments = parsed()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = arguments.model.absolute() if arguments.model else scratch / "model"
        run = Run(arguments, folder, scratch, cases_of(arguments), facts_of(arguments), time.monotonic())
        stack.callback(run.end_all)
        made = run.ask("make", None)
        run.end("make")
        if "error" in made:
            print(f"no base model: {made['error']}", file=sys.stderr)
            return 1
        run.facts |= made
        print(f"{time.monotonic() - run.started:6.1f} s  base model made", flush=True)
        measure(run)
        run.write()
    print(arguments.record.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
