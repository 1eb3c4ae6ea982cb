"""The configuration of registry.py: its schema, its command line, and what it refuses before torch is loaded."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt

from wikillama.config.rules import check_data, check_knowledge, check_model
from wikillama.config.schema import (
    DataConfig,
    EvaluationConfig,
    KnowledgeConfig,
    ModelConfig,
    PromptConfig,
    QuantizationConfig,
    Section,
    SuiteConfig,
    TrackingConfig,
)
from wikillama.errors import InputError

ACTIONS = ("list", "show", "promote", "export", "merge", "import", "sync")
_TEXTS = ("reason", "out", "folder", "to")  # values that may hold any character


class RegistryConfig(Section):
    """What to do, to which version, and what a merge or an import needs to know beside it."""

    action: str | None = None
    version: int | str | None = None  # a number, or an alias such as @champion
    alias: str | None = None  # promote
    force: bool = False  # promote, although the version is worse or was not evaluated
    reason: str | None = None
    out: str | None = None  # export, merge: the folder to write
    folder: str | None = None  # import: the folder to read
    to: str | None = None  # sync: the store to fill
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    tracking: TrackingConfig  # register_as names the registered model
    model: ModelConfig  # import: the base of an adapter that does not say it
    quantization: QuantizationConfig
    knowledge: KnowledgeConfig
    prompt: PromptConfig
    data: DataConfig  # merge: where the held-out turns come from
    suite: SuiteConfig
    evaluation: EvaluationConfig
    seed: NonNegativeInt = 0
    cache_dir: str

    @property
    def registered(self) -> str:
        """The name of the registered model."""
        assert self.tracking.register_as is not None  # `check_registry` saw to it
        return self.tracking.register_as


def arguments(given: Sequence[str]) -> list[str]:
    """A command line as Hydra takes it: the first word without "=" is the action, and texts are quoted.

    Hydra reads commas, brackets and apostrophes in a value as its own; a reason is prose, and a folder may be called
    anything.
    """
    found = list(given)
    if found and not found[0].startswith("-") and "=" not in found[0]:
        found[0] = f"action={found[0]}"
    return [_quoted(argument) for argument in found]


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if key not in _TEXTS or not equals or value in ("", "null") or value[0] in "'\"":
        return argument
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # in Hydra backslashes count before quotes only, ...
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)  # ... of which the closing one is one
    return f"{key}='{escaped}'"


def check_registry(cfg: RegistryConfig) -> None:
    """Refuse an unknown action, and one without what it needs. Raises InputError."""
    if cfg.action not in ACTIONS:
        said = "no action" if cfg.action is None else f"no action {cfg.action}"
        raise InputError(f"{said}: give one of {', '.join(ACTIONS)}, such as `python registry.py list`")
    if cfg.tracking.register_as is None:
        raise InputError("tracking.register_as=null: name the registered model, such as wiki-llama")
    if cfg.action in ("show", "promote", "export", "merge"):
        _check_version(cfg)
    if cfg.action in ("export", "merge"):
        _check_out(cfg)
    if cfg.action == "promote":
        _check_promotion(cfg)
    if cfg.action == "import":
        _check_import(cfg)
    if cfg.action == "merge":
        _check_merge(cfg)
    if cfg.action == "sync" and cfg.to is None:
        raise InputError("sync: give to=URI, the store to fill")


def _check_version(cfg: RegistryConfig) -> None:
    if cfg.version is None:
        raise InputError(f"{cfg.action}: give version=NUMBER or version=@ALIAS; `python registry.py list` shows them")
    if not re.fullmatch(r"[1-9]\d*|@[\w-]+", str(cfg.version)):
        raise InputError(f"version={cfg.version}: give a number such as 3, or an alias such as @champion")


def _check_out(cfg: RegistryConfig) -> None:
    if cfg.out is None:
        raise InputError(f"{cfg.action}: give out=FOLDER, where to write")
    place = Path(cfg.out).expanduser()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"out={cfg.out}: there is something already; give a new or an empty folder")


def _check_promotion(cfg: RegistryConfig) -> None:
    alias = cfg.alias
    if alias is None:
        raise InputError("promote: give alias=NAME, such as champion")
    if not re.fullmatch(r"[\w-]{1,255}", alias) or re.fullmatch(r"v?\d+|latest", alias, re.IGNORECASE):
        raise InputError(f"alias={alias}: give a word such as champion, not a number and not `latest`")
    if cfg.force and not (cfg.reason or "").strip():
        raise InputError('force=true needs reason="...", which the version then carries')
    if cfg.reason is not None and not cfg.force:
        raise InputError("reason= goes with force=true; without force the evaluations are the reason")


def _check_import(cfg: RegistryConfig) -> None:
    if cfg.folder is None:
        raise InputError("import: give folder=FOLDER, a LoRA adapter in PEFT's layout")
    if not Path(cfg.folder).expanduser().is_dir():
        raise InputError(f"folder={cfg.folder}: no such folder")
    check_model(cfg.model)


def _check_merge(cfg: RegistryConfig) -> None:
    if cfg.suite.split is None:
        raise InputError(f"suite={cfg.suite.name}: a merge is measured on turns of dialogues: use suite=seen|unseen")
    check_data(cfg.data, cfg.model)
    check_knowledge(cfg.knowledge, cfg.data, trains=False)
