"""What the page of an experiment shows when it is opened: a description, and saved views that make runs comparable.

MLflow keeps all three as tags of the experiment, saved views as its own page writes them (menu "Views"; MLflow 3.17,
`mlflow.demo.generators.saved_views` writes the like). What is there already is left: it is the user's.
"""

import json
import time
from typing import Any

from mlflow import MlflowClient

from wikillama.tracking.description import KIND, NOTE
from wikillama.tracking.links import runs_page

_VIEW = "mlflow.sharedViewState."
_KIND_OF_EXPERIMENT = ("mlflow.experimentKind", "custom_model_development")  # or the page asks for it

_SUITES = ("wow_seen", "wow_mini_seen")  # what training scores on; columns that no run has are not shown
_SYSTEMS = ("base", "models/wiki-llama candidate", "models/wiki-llama champion")  # as evaluate.py names them
_NAME = "attributes.`Run Name`"
_TRAINING = (
    *(f"params.`{name}`" for name in ("model.name", "quantization.type", "peft.r", "knowledge.mode")),
    *(f"metrics.`{suite}/{name}`" for suite in _SUITES for name in ("ppl", "f1", "kf1")),
    *(f"metrics.`{name}`" for name in ("qa200/correct", "adapter/size_mb", "train/mean_tokens_per_s")),
    "attributes.`Duration`",
)
_EVALUATIONS = (
    *(f"params.`{name}`" for name in ("suite.name", "knowledge.mode", "judge.kind")),
    *(f"metrics.`qa200/{system}/correct`" for system in _SYSTEMS),
    *(f"metrics.`{suite}/{system}/f1`" for suite in _SUITES for system in _SYSTEMS),
    "attributes.`Duration`",
)
VIEWS: dict[str, tuple[str, str, tuple[str, ...]]] = {  # by id: name, filter, columns
    "wikillama-training": (
        "Training and sweeps",
        f"tags.`{KIND}` != 'evaluate' AND tags.`{KIND}` != 'comparison'",
        _TRAINING,
    ),
    "wikillama-evaluations": ("Evaluations", f"tags.`{KIND}` = 'evaluate'", _EVALUATIONS),
}
_WIDTH = 7  # pixels a letter of a heading


def furnish(client: MlflowClient, experiment_id: str) -> None:
    """Give an experiment its kind, description and saved views where it has none."""
    there = client.get_experiment(experiment_id).tags
    wanted = dict([_KIND_OF_EXPERIMENT]) | {NOTE: _note(experiment_id)}
    wanted |= {f"{_VIEW}{key}": _view(*view) for key, view in VIEWS.items()}
    for key, value in wanted.items():
        if key not in there:
            client.set_experiment_tag(experiment_id, key, value)


def _note(experiment_id: str) -> str:
    """The page shows the first line alone until one asks for more."""
    links = " or ".join(f"[{name}]({runs_page(experiment_id, key)})" for key, (name, _, _) in VIEWS.items())
    return (
        f"Knowledge-grounded dialogue with Llama models. Comparable at a glance: {links}, also in the menu *Views*.\n\n"
        "Every run says in its description what it is, what came of it, and where to look. Tag `wikillama.kind` tells "
        "training, evaluation and sweeps apart."
    )


def _view(name: str, search: str, columns: tuple[str, ...]) -> str:
    state: dict[str, Any] = {
        "searchFilter": search,
        "selectedColumns": columns,
        "columnOrder": (_NAME, *columns),
        "columnWidths": {_NAME: 290} | {column: 26 + _WIDTH * max(12, len(column.split("`")[1])) for column in columns},
    }
    now = int(time.time() * 1000)
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})
