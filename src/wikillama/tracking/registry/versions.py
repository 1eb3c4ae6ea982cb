"""Registered versions: made, found, listed, and pointed to by aliases."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from wikillama.errors import InputError
from wikillama.model.recipe import Recipe
from wikillama.tracking.registry.card import registry_card
from wikillama.tracking.run import TrackedRun

ADAPTER = "adapter"  # a run's artifact folder that holds its adapter


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    number: str
    alias: str | None


def register(
    run: TrackedRun, name: str, alias: str | None, tags: Mapping[str, str], recipe: Recipe | None = None
) -> Version:
    """Register the adapter of `run` as the next version of `name`, and let `alias` point to it.

    With its recipe, the version carries a model card as its description.
    """
    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = run.client.get_run(run.id)
    source = f"{found.info.artifact_uri}/{ADAPTER}"
    version = run.client.create_model_version(name, source, run_id=run.id, tags=dict(tags))
    number = str(version.version)
    if recipe is not None:
        run.client.update_model_version(name, number, registry_card(name, number, tags, found.data.params, recipe))
    if alias is not None:
        run.client.set_registered_model_alias(name, alias, number)
    return Version(name, number, alias)


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a registered model, newest first, with their aliases. Raises InputError where there is none."""
    aliases = _aliases(client, name)
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            break
    for version in found:
        version.aliases = sorted(alias for alias, number in aliases.items() if number == str(version.version))
    return sorted(found, key=lambda version: -int(version.version))


def find_version(client: MlflowClient, name: str, wanted: str) -> ModelVersion:
    """The version with a number, such as `3`, or under an alias, such as `@champion`. Raises InputError."""
    aliases = _aliases(client, name)
    number = aliases.get(wanted[1:]) if wanted.startswith("@") else wanted
    try:
        version = client.get_model_version(name, number) if number is not None else None
    except MlflowException:
        version = None
    if version is None:
        there = ", ".join(str(each.version) for each in versions_of(client, name)[:20]) or "none"
        raise InputError(
            f"version={wanted}: {name} has no such version; it has {there}"
            + (f", and the aliases {', '.join(f'@{alias}' for alias in sorted(aliases))}" if aliases else "")
        )
    version.aliases = sorted(alias for alias, held in aliases.items() if held == str(version.version))
    return version


def holder_of(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias points to; None where it points nowhere."""
    number = _aliases(client, name).get(alias)
    return client.get_model_version(name, number) if number is not None else None


def params_of(client: MlflowClient, version: ModelVersion) -> dict[str, str]:
    """The params of the run that a version came from; empty where that run is gone."""
    try:
        return dict(client.get_run(version.run_id).data.params) if version.run_id else {}
    except MlflowException:
        return {}


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    try:
        held: Any = client.get_registered_model(name).aliases
    except MlflowException as error:
        raise InputError(
            f"tracking.register_as={name}: no registered model of this name; register one by train.py, or by "
            "`python registry.py import folder=FOLDER`"
        ) from error
    return {alias: str(number) for alias, number in held.items()}
