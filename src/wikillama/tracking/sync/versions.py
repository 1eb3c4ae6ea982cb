"""Registered versions of one store as versions of another, with their aliases."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from wikillama.tracking.sync.names import Names

NUMBER = "wikillama.synced_version"  # tag of a copy: number of the version that it is a copy of


@dataclass(slots=True)
class Counts:
    """What was done to versions, and what was left, with the reason."""

    copied: int = 0
    updated: int = 0
    unchanged: int = 0
    aliases: int = 0
    left: list[str] = field(default_factory=list)


def sync_versions(
    source: MlflowClient, target: MlflowClient, pairs: Mapping[str, tuple[Run, Run]], names: Names
) -> Counts:
    """Copy the versions of runs that have a copy, which `pairs` gives by their id; `names` learns their numbers."""
    counts = Counts()
    for model in _models(source):
        mine = [(version, pairs[version.run_id or ""]) for version in _versions(source, model.name)
                if version.run_id in pairs]  # fmt: skip
        if mine:
            _sync_model(target, model, mine, names, counts)
    return counts


def _sync_model(
    target: MlflowClient,
    model: RegisteredModel,
    mine: Sequence[tuple[ModelVersion, tuple[Run, Run]]],
    names: Names,
    counts: Counts,
) -> None:
    theirs = _model(target, model)
    there = {(v.run_id, v.tags.get(NUMBER)): v for v in _versions(target, model.name)}
    numbers = names.versions.setdefault(model.name, {})
    copies: list[tuple[ModelVersion, ModelVersion, bool]] = []
    for version, (run, copy) in mine:
        number = str(version.version)
        found, place = there.get((copy.info.run_id, number)), _source(version, run, copy)
        if found is None and place is None:
            counts.left.append(f"{model.name} version {number} points to {version.source}: not copied")
            continue
        made = found is None
        if found is None:
            tags = _tags(version, names) | {NUMBER: number}
            found = target.create_model_version(model.name, str(place), copy.info.run_id, tags)
        numbers[number] = str(found.version)
        copies.append((version, found, made))
    for version, found, made in copies:  # now that all numbers are known
        changed = _update(target, found, version, names)
        counts.copied += made
        counts.updated += changed and not made
        counts.unchanged += not (changed or made)
    _point(target, model, theirs, numbers, counts)


def _models(client: MlflowClient) -> Iterator[RegisteredModel]:
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        for found in page:
            yield client.get_registered_model(found.name)  # a search gives no aliases
        token = page.token
        if not token:
            return


def _versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Oldest first."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _model(target: MlflowClient, model: RegisteredModel) -> RegisteredModel:
    """The target's registered model of the same name, made where there is none."""
    try:
        return target.get_registered_model(model.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    target.create_registered_model(model.name, model.tags, model.description)
    return target.get_registered_model(model.name)


def _source(version: ModelVersion, run: Run, copy: Run) -> str | None:
    """Where the artifact of a version is in the target; None where it is none of its run's."""
    for base in (run.info.artifact_uri, f"runs:/{run.info.run_id}"):
        inside = (version.source or "").removeprefix(f"{base}/")
        if inside != version.source:
            return f"{copy.info.artifact_uri}/{inside}"
    return None


def _tags(version: ModelVersion, names: Names) -> dict[str, str]:
    return {key: names.translated(value) for key, value in version.tags.items() if key != NUMBER}


def _update(target: MlflowClient, there: ModelVersion, version: ModelVersion, names: Names) -> bool:
    """Give a copy the description and the tags of its version; whether it lacked any."""
    missing = {key: value for key, value in _tags(version, names).items() if there.tags.get(key) != value}
    for key, value in missing.items():
        target.set_model_version_tag(there.name, there.version, key, value)
    said = names.translated(version.description or "").replace(
        f" version={version.version} ", f" version={there.version} "
    )
    if said != (there.description or ""):
        target.update_model_version(there.name, there.version, said)
    return bool(missing) or said != (there.description or "")


def _point(
    target: MlflowClient, model: RegisteredModel, theirs: RegisteredModel, numbers: Mapping[str, str], counts: Counts
) -> None:
    """Set the aliases, but for those that point to a version of another origin: the target is shared."""
    for alias, number in sorted(model.aliases.items()):
        wanted, held = numbers.get(str(number)), theirs.aliases.get(alias)
        if wanted is None or str(held) == wanted:
            continue
        if held is None or str(held) in numbers.values():
            target.set_registered_model_alias(model.name, alias, wanted)
            counts.aliases += 1
        else:
            counts.left.append(f"{model.name}@{alias} points to version {held} there, which is not from here: left so")
