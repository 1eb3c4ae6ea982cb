"""The key of a review: which trace shows whose answer. It is kept away from the traces, in an experiment of its own."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from wikillama.config.paths import without_secrets
from wikillama.config.schema import TrackingConfig
from wikillama.errors import InputError
from wikillama.tracking.run import experiment_id, open_client, store_uri

KEY = "review/key.json"
_GUIDELINE = "review/guideline.md"
_TAG = "wikillama.review"  # of the run that holds the key: id of the experiment under review
_KIND = "mlflow.experimentKind"  # MLflow's own tag; without it the page has no Review tab


@dataclass(frozen=True, slots=True)
class Assignment:
    """One answer before one person, as one trace; no two people share a trace, so nobody sees another's label."""

    trace_id: str
    annotator: str
    item_id: str
    system: str
    topic: str | None
    digest: str  # of the answer
    adjudicates: bool = False

    @property
    def answer(self) -> tuple[str, str]:
        return self.item_id, self.system


@dataclass(frozen=True, slots=True)
class Key:
    """The settings of a review and all its assignments, in an order that tells nothing."""

    annotators: tuple[str, ...]
    overlap: float
    seed: int
    guideline: str
    assignments: tuple[Assignment, ...] = ()

    def plus(self, added: Iterable[Assignment]) -> "Key":
        return replace(self, assignments=(*self.assignments, *added))


class Place(NamedTuple):
    """Where a review is: its experiment, and the run with its key where there is one yet."""

    client: MlflowClient
    uri: str
    experiment: str
    experiment_id: str
    key_run: str | None


def open_place(tracking_uri: str, experiment: str, create: bool = False) -> Place:
    """Find a review, or the place for one. Raises InputError where there is none and `create` is false."""
    client, store = open_client(tracking_uri), store_uri(tracking_uri)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # the key is one small file
    mlflow.set_tracking_uri(store)  # MLflow's functions for queues and schemas take no client
    if create:
        experiment_id(client, TrackingConfig(uri=tracking_uri, experiment=experiment))
    found = client.get_experiment_by_name(experiment)
    keys = client.get_experiment_by_name(_key_experiment(experiment))
    runs: list[Run] = []
    if found is not None and keys is not None:
        runs = client.search_runs([keys.experiment_id], f"tags.`{_TAG}` = '{found.experiment_id}'")
    if found is None or not (runs or create):
        raise InputError(f"no review in experiment {experiment} of {without_secrets(tracking_uri)}; create it first")
    return Place(client, store, experiment, str(found.experiment_id), runs[0].info.run_id if runs else None)


def claim(place: Place) -> None:
    """Make an empty experiment the place of a review. Raises InputError for one in use: its names may tell systems."""
    used = place.client.search_runs([place.experiment_id], max_results=1) or place.client.search_traces(
        locations=[place.experiment_id], max_results=1, include_spans=False
    )
    if used:
        raise InputError(
            f"experiment {place.experiment} holds runs or traces, which may give systems away; "
            f"give the review an experiment of its own"
        )
    place.client.set_experiment_tag(place.experiment_id, _KIND, "genai_development")


def read_key(place: Place) -> Key:
    """The key of a review. Raises InputError where its artifact cannot be read."""
    try:
        path = mlflow.artifacts.download_artifacts(run_id=place.key_run, artifact_path=KEY, tracking_uri=place.uri)
        raw = json.loads(Path(path).read_text("utf-8"))
    except (MlflowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"run {place.key_run}: {KEY} cannot be read ({reason}); restore it") from error
    assignments = tuple(Assignment(**assignment) for assignment in raw.pop("assignments"))
    return Key(**{**raw, "annotators": tuple(raw["annotators"])}, assignments=assignments)


def write_key(place: Place, key: Key) -> Place:
    """Store the key before anything that it unlocks, so that a review cut short can be completed."""
    text = json.dumps(asdict(key), indent=1, ensure_ascii=False)
    if place.key_run is not None:
        place.client.log_text(place.key_run, text, KEY)
        return place
    config = TrackingConfig(uri=place.uri, experiment=_key_experiment(place.experiment))
    run = place.client.create_run(experiment_id(place.client, config), run_name="key").info.run_id
    place.client.log_text(run, text, KEY)
    place.client.log_text(run, key.guideline, _GUIDELINE)
    place.client.set_tag(run, _TAG, place.experiment_id)  # last: a run with the tag has a key
    place.client.set_terminated(run)
    return place._replace(key_run=run)


def _key_experiment(experiment: str) -> str:
    return f"{experiment}-key"
