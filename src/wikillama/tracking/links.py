"""Addresses of pages of the MLflow UI (3.17), from one of its pages to another."""

from urllib.parse import quote


def run_page(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def artifact_page(experiment_id: str, run_id: str, path: str) -> str:
    """The artifact browser of a run, opened at a file."""
    return f"{run_page(experiment_id, run_id)}/artifacts/{quote(path)}"


def version_page(name: str, version: str) -> str:
    return f"#/models/{quote(name, safe='')}/versions/{version}"


def runs_page(experiment_id: str, view: str) -> str:
    """The runs of an experiment in one of its saved views, see `tracking.experiment_page`."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={quote(view)}&workflowType=machine_learning"
