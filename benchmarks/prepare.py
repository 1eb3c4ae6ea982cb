"""Measures preparation at the official size: time, memory, the second run, reading against orjson, packing.

python benchmarks/prepare.py                                   SmolLM2's tokenizer
python benchmarks/prepare.py model=llama2_7b model.tokenizer=FILE   overrides of prepare.py; another record
python benchmarks/prepare.py --record FILE.json ...            where the record goes

Every figure is of a process of its own, by the operating system's account of it; runs on a machine with other work say
less. The corpus is made by wow_sized.py, once at the official size and once at a quarter of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wow_sized import write

from wikillama.config.paths import ROOT
from wikillama.data.packing import best_fit, waste
from wikillama.data.prepared import Facts, Prepared
from wikillama.data.wow import OFFICIAL_COUNTS
from wikillama.tracking.facts import code_tags, environment_tags

READ = """
import sys
from pathlib import Path
from wikillama.data.wow import read_wow
with Path(sys.argv[1]).open("rb") as file:
    print(sum(len(dialogue.turns) for dialogue in read_wow(file, "train", sys.argv[1])))
"""
PARSE = """
import sys
from pathlib import Path
import orjson
print(sum(len(dialogue["dialog"]) for dialogue in orjson.loads(Path(sys.argv[1]).read_bytes())))
"""
BATCH = 8  # examples padded together, in the comparison with packing


def timed(*command: str) -> dict[str, float]:
    """Wall seconds and peak resident MB (10^6 bytes) of a command. Raises CalledProcessError where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"seconds": round(time.perf_counter() - started, 2), "peak_rss_mb": round(usage.ru_maxrss * 1024 / 1e6, 1)}


def prepared(folder: Path, cache: Path, overrides: list[str]) -> tuple[dict[str, float], Prepared]:
    """Run prepare.py on a corpus; its figures, and the entry of the train split."""
    out = cache / "outputs"
    command = ["prepare.py", "data=wow", f"data.path={folder}", f"cache_dir={cache}", f"hydra.run.dir={out}"]
    figures = timed(*command, *overrides)
    entry = next(cache.glob("prepared/wow-train-*/facts.json")).parent
    return figures, Prepared(entry, Facts(**json.loads((entry / "facts.json").read_bytes())), was_there=True)


def reading(path: Path, rounds: int = 3) -> dict[str, Any]:
    """The reading stage alone against orjson.loads of the same bytes, in turn; medians."""
    runs = [(timed("-c", READ, str(path)), timed("-c", PARSE, str(path))) for _ in range(rounds)]
    ours, theirs = (sorted((run[side] for run in runs), key=lambda f: f["seconds"])[rounds // 2] for side in (0, 1))
    return {"read_wow": ours, "orjson.loads": theirs, "speed_ratio": round(theirs["seconds"] / ours["seconds"], 2)}


def packing(lengths: list[int], row_length: int) -> dict[str, float]:
    """Shares of tokens that are padding: packed rows, batches by length, batches as they come."""

    def padded(order: list[int]) -> float:
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        return 1 - sum(order) / sum(-(-max(batch) // 8) * 8 * len(batch) for batch in batches)

    rows = best_fit(lengths, row_length)
    return {
        "rows": len(rows),
        "bestfit": round(waste(lengths, rows, row_length), 4),
        "padded_by_length": round(padded(sorted(lengths)), 4),
        "padded_as_they_come": round(padded(lengths), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "records" / "prepare.json")
    arguments = parser.parse_args()
    official = OFFICIAL_COUNTS["train"][0]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        full, quarter = write(folder / "full", official), write(folder / "quarter", official // 4)
        timed("prepare.py", f"cache_dir={folder / 'warm'}", f"hydra.run.dir={folder / 'warm'}", *arguments.overrides)
        # the model's conversion, half a minute once on a machine, is not part of what is measured
        for name in ("full", "quarter"):
            (folder / f"cache-{name}").mkdir()
            (folder / f"cache-{name}" / "models").symlink_to(folder / "warm" / "models")
        cold, entry = prepared(full.parent, folder / "cache-full", arguments.overrides)
        again, _ = prepared(full.parent, folder / "cache-full", arguments.overrides)
        small, small_entry = prepared(quarter.parent, folder / "cache-quarter", arguments.overrides)
        facts, size, lengths = entry.facts, full.stat().st_size, entry.lengths()
        record = {
            "what": "prepare.py on a corpus of the official size, train split",
            "command": f"python benchmarks/prepare.py {' '.join(arguments.overrides)}".strip(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "corpus": {"mb": round(size / 1e6), "dialogues": facts.dialogues, "turns": facts.turns},
            "examples": {"replies": facts.replies, "tokens": facts.tokens, "mean": round(facts.tokens / facts.replies)},
            "first_run": cold,
            "second_run": again,
            "train_split": {
                "seconds": facts.seconds,
                "mb_per_s": round(size / 1e6 / facts.seconds, 1),
                "turns_per_s": round(facts.turns / facts.seconds),
                "tokens_per_s": round(facts.tokens / facts.seconds),
            },
            "quarter_size": {"dialogues": small_entry.facts.dialogues, **small},
            "peak_rss_at_4x": round(cold["peak_rss_mb"] / small["peak_rss_mb"], 3),
            "reading": reading(full),
            "padding": {str(length): packing(lengths, length) for length in (2048, 8192)},
            **code_tags(),
            **environment_tags(),
        }
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
