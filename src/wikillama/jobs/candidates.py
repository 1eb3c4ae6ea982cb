"""The systems that runs scored, read back from the store with what they answered and what they cost."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient

from wikillama.evaluation.results import Answer, Prediction
from wikillama.evaluation.run_comparison import Candidate, Row
from wikillama.tracking.reading import RunFacts, Scored, read_results, read_rows, scored_files
from wikillama.tracking.registry.evaluations import SYSTEMS_TAG

# a run's metrics by what they cost: of a training run, and of a system that evaluate.py asked
_TRAINING_COSTS = {
    "adapter, MB": "adapter/size_mb",
    "peak, GB": "memory/peak_gb",
    "tokens/s": "train/mean_tokens_per_s",
}
_SYSTEM_COSTS = {"adapter, MB": "adapter_mb", "peak, GB": "peak_gb", "one reply, s": "reply_s"}
_FACTS = {
    "training data": "wikillama.data_fingerprint",
    "base weights": "wikillama.base_weights_hash",
    "hardware": "wikillama.hardware",
    "commit": "wikillama.git_commit",
}
_DIGITS = 10  # of a hash are enough to tell two apart


def run_labels(runs: Sequence[RunFacts]) -> list[str]:
    """A name for each run that no other has."""
    names = Counter(run.name for run in runs)
    return [run.name if names[run.name] == 1 else f"{run.name} ({run.id[:8]})" for run in runs]


def rows_of(client: MlflowClient, run: RunFacts, label: str) -> tuple[list[Row], list[tuple[str, Candidate]]]:
    """A row for each system of a run, and with its suite what each scored.

    Of a training run, the tuned model alone: how it compares with its base stands in its own report. A run that scored
    nothing has a row, too.
    """
    files = scored_files(client, run.id)
    if any(not file.system for file in files):
        files = [file for file in files if not file.system]
    folders = list(dict.fromkeys(file.system for file in files)) or [""]
    systems = _systems(run)
    names = {
        folder: label if len(folders) == 1 else f"{systems.get(folder, folder)} ({run.id[:8]})" for folder in folders
    }
    rows = [_row(run, label, names[folder], folder) for folder in folders]
    return rows, [(file.suite, _candidate(client, run, file, names[file.system])) for file in files]


def _systems(run: RunFacts) -> dict[str, str]:
    """What the systems of an evaluation are called, by the folder of their answers."""
    listed: list[Mapping[str, str]] = json.loads(run.tags.get(SYSTEMS_TAG, "[]"))
    return {system["folder"]: system["system"] for system in listed}


def _row(run: RunFacts, label: str, name: str, folder: str) -> Row:
    costs = (
        {cost: f"runtime/{folder}/{figure}" for cost, figure in _SYSTEM_COSTS.items()} if folder else _TRAINING_COSTS
    )
    facts = {fact: run.tags.get(tag, "") for fact, tag in _FACTS.items()}
    return Row(
        name=name,
        run=label,
        run_id=run.id,
        status=run.status,
        started=run.started,
        seconds=run.seconds,
        costs={cost: run.metrics[metric] for cost, metric in costs.items() if metric in run.metrics},
        facts={fact: value if fact == "hardware" else value[:_DIGITS] for fact, value in facts.items()},
    )


def _candidate(client: MlflowClient, run: RunFacts, file: Scored, name: str) -> Candidate:
    results = read_results(client, run.id, file.suite)
    held_out = run.params.get("knowledge.held_out", "None")
    mode = run.params.get("knowledge.mode", "") if held_out == "None" else held_out
    knowledge = str(results.get("knowledge") or mode)
    if file.holds_answers:
        judge = str(results.get("judge") or run.params.get("judge.kind", ""))
        return Candidate(name, knowledge, judge, answers=read_rows(client, run.id, file.path, Answer))
    return Candidate(name, knowledge, "", predictions=read_rows(client, run.id, file.path, Prediction))
