"""What a registered version was asked: by the run that trained it, and by every later run that scored its weights.

Such runs say in a tag which systems they asked, by fingerprint: names and aliases may point elsewhere by now.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.entities.model_registry import ModelVersion

from wikillama.evaluation.resampling import Estimate
from wikillama.evaluation.results import Answer, Costs, Prediction, SystemResult
from wikillama.tracking.reading import read_results, read_rows, scored_files
from wikillama.tracking.registry.tags import FINGERPRINT, HEADLINE, counts_in, metrics_in

SYSTEMS_TAG = "wikillama.systems"  # of a run: what it asked, as `systems_tag` writes it


class Key(NamedTuple):
    """What two evaluations must share to be compared."""

    suite: str
    knowledge: str
    judge: str | None  # None: turns of dialogues, which nobody judges

    def __str__(self) -> str:
        judged = f", judge {self.judge}" if self.judge else ""
        return f"{self.suite}, {self.knowledge} knowledge{judged}"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation of one version: replies to turns with their metrics, or answers to questions with their counts.

    Where a version's tags are all that is left of it, there are no replies and no answers.
    """

    key: Key
    run_id: str | None
    predictions: tuple[Prediction, ...] = ()
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    counts: tuple[int, int, int] | None = None  # correct, wrong, ambiguous

    def __len__(self) -> int:
        return len(self.predictions) + len(self.answers)


def systems_tag(systems: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The tag by which a run that scores systems is found: name, folder within the suite's, and fingerprint of each."""
    listed = [{"system": name, "folder": folder, "fingerprint": mark} for name, folder, mark in systems]
    return {SYSTEMS_TAG: json.dumps(listed)}


def evaluations(client: MlflowClient, version: ModelVersion) -> dict[Key, Evaluated]:
    """The version's evaluations, of each kind the one over most turns or questions, the latest of equals."""
    found = {evaluated.key: evaluated for evaluated in _in_tags(version.tags)}
    asked = sorted(_asked(client, version), key=lambda each: each.started)
    for run in asked:
        for evaluated in _in_run(client, run):
            known = found.get(evaluated.key)
            if known is None or len(evaluated) >= len(known):
                found[evaluated.key] = evaluated
    return found


class _Asked(NamedTuple):
    """A run that put questions or turns to the version's system."""

    run_id: str
    started: int
    system: str
    folder: str  # of the system within a suite's; empty: the suite's own


def _asked(client: MlflowClient, version: ModelVersion) -> Iterator[_Asked]:
    mark = version.tags.get(FINGERPRINT)
    if not mark:
        return
    experiments = [experiment.experiment_id for experiment in client.search_experiments(ViewType.ACTIVE_ONLY)]
    wanted = f"tags.`{SYSTEMS_TAG}` LIKE '%{mark}%' AND attributes.status = 'FINISHED'"
    token = None
    while True:
        page = client.search_runs(experiments, wanted, ViewType.ACTIVE_ONLY, page_token=token)
        for run in page:
            for system in json.loads(run.data.tags[SYSTEMS_TAG]):
                if system["fingerprint"] == mark:
                    yield _Asked(run.info.run_id, run.info.start_time, system["system"], system["folder"])
        token = page.token
        if not token:
            return


def _in_run(client: MlflowClient, run: _Asked) -> Iterator[Evaluated]:
    for scored in scored_files(client, run.run_id):
        if scored.system != run.folder:
            continue
        results = read_results(client, run.run_id, scored.suite)
        mode, judge = str(results.get("knowledge", "")), str(results.get("judge", ""))
        if scored.holds_answers:
            answers = read_rows(client, run.run_id, scored.path, Answer)
            counts = SystemResult(run.system, Costs(""), answers=answers).counts
            yield Evaluated(Key(scored.suite, mode, judge), run.run_id, answers=answers, counts=counts)
        else:
            systems = {each["name"]: each for each in results.get("systems", [])}
            predictions = read_rows(client, run.run_id, scored.path, Prediction)
            yield Evaluated(
                Key(scored.suite, mode, None),
                run.run_id,
                predictions,
                metrics=_metrics(systems.get(run.system, {}).get("metrics", {})),
            )


def _metrics(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    def number(value: float | None) -> float:
        return math.nan if value is None else value

    return {
        name: Estimate(each["value"], number(each["low"]), number(each["high"]), each["n"])
        for name, each in written.items()
        if name in HEADLINE
    }


def _in_tags(tags: Mapping[str, str]) -> Iterator[Evaluated]:
    for (suite, mode), metrics in metrics_in(tags).items():
        yield Evaluated(Key(suite, mode, None), None, metrics=metrics)
    for (suite, mode), counts in counts_in(tags).items():
        yield Evaluated(Key(suite, mode, counts.judge), None, counts=counts[:3])
