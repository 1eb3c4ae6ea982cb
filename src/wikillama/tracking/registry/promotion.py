"""An alias moved to another version, with who did it, when and why in the version's tags."""

import getpass
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from wikillama.errors import InputError
from wikillama.model.recipe import read_recipe
from wikillama.tracking.registry.card import registry_card
from wikillama.tracking.registry.evaluations import Evaluated, Key, evaluations
from wikillama.tracking.registry.gate import Verdict, verdicts
from wikillama.tracking.registry.tags import count_tags, metric_tags
from wikillama.tracking.registry.versions import ADAPTER, holder_of, params_of

_FORCED = "promotion_forced"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What speaks for and against letting an alias point to a version.

    `objection` is None where nothing stands in the way; `verdicts` are against the version that holds the alias now.
    """

    version: ModelVersion
    alias: str
    holder: ModelVersion | None
    evaluated: tuple[Evaluated, ...]
    verdicts: tuple[Verdict, ...]
    objection: str | None

    @property
    def evidence(self) -> str:
        """The figures in words."""
        if self.verdicts:
            against = f"against version {self.holder.version}: " if self.holder else ""
            return against + "; ".join(map(str, self.verdicts))
        return "; ".join(_figures(self.evaluated)) or "none"


def weigh(client: MlflowClient, version: ModelVersion, alias: str) -> Promotion:
    """Compare a version with the one that holds the alias, on all that both were asked."""
    mine = evaluations(client, version)
    holder = holder_of(client, version.name, alias)
    if holder is not None and holder.version == version.version:
        holder = None
    found: tuple[Verdict, ...] = ()
    if holder is not None:
        theirs = evaluations(client, holder)
        same = {each.tags.get("tokenizer_fingerprint") for each in (version, holder)}
        found = verdicts(mine, theirs, same_tokenizer=len(same) == 1)
    return Promotion(version, alias, holder, tuple(mine.values()), found, _objection(version, holder, mine, found))


def _objection(
    version: ModelVersion, holder: ModelVersion | None, mine: dict[Key, Evaluated], found: tuple[Verdict, ...]
) -> str | None:
    this = f"models:/{version.name}/{version.version}"
    if not mine:
        return (
            f"version {version.version} has no evaluation: run `python evaluate.py systems='[base,{this}]' suite=qa200`"
        )
    if holder is None:
        return None
    if not found:
        other = f"models:/{holder.name}/{holder.version}"
        return (
            f"version {version.version} and version {holder.version} were not asked the same: run "
            f"`python evaluate.py systems='[{other},{this}]' suite=qa200`"
        )
    worse = [verdict for verdict in found if verdict.worse]
    if not worse:
        return None
    return f"version {version.version} is worse than version {holder.version}: " + "; ".join(map(str, worse))


def promote(client: MlflowClient, promotion: Promotion, forced: str | None) -> None:
    """Let the alias point to the version, and write down why. `forced` is the reason for passing over an objection.

    What later evaluations found is added to the version's tags and card.
    """
    version, holder = promotion.version, promotion.holder
    tags = {
        "promoted_to": promotion.alias,
        "promoted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "promoted_by": _user(),
        "promoted_over": str(holder.version) if holder else "none",
        "promotion_evidence": promotion.evidence,
    }
    if forced is not None:
        tags[_FORCED] = f"{forced} (against: {promotion.objection})" if promotion.objection else forced
    for key, value in (_scores(promotion.evaluated) | tags).items():
        client.set_model_version_tag(version.name, version.version, key, value)
    if forced is None and _FORCED in version.tags:
        client.delete_model_version_tag(version.name, version.version, _FORCED)
    _rewrite_card(client, version)
    client.set_registered_model_alias(version.name, promotion.alias, version.version)


def _scores(evaluated: Iterable[Evaluated]) -> dict[str, str]:
    """Evaluations as tags."""
    found: dict[str, str] = {}
    for each in evaluated:
        suite, knowledge, judge = each.key
        if each.counts is not None:
            found |= count_tags(suite, knowledge, each.counts, judge or "")
        else:
            found |= metric_tags(suite, knowledge, each.metrics)
    return found


def _figures(evaluated: Iterable[Evaluated]) -> list[str]:
    return [f"{each.key}: {', '.join(f'{k} {v}' for k, v in _scores([each]).items())}" for each in evaluated]


def _rewrite_card(client: MlflowClient, version: ModelVersion) -> None:
    if version.run_id is None:
        return
    try:
        tags = client.get_model_version(version.name, version.version).tags
        with TemporaryDirectory() as folder:
            file = client.download_artifacts(version.run_id, f"{ADAPTER}/wikillama.json", folder)
            recipe = read_recipe(Path(file).parent)
    except (MlflowException, InputError, OSError):  # a version without a recipe has no card
        return
    card = registry_card(version.name, str(version.version), tags, params_of(client, version), recipe)
    client.update_model_version(version.name, version.version, card)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container whose user has no name
        return "unknown"
