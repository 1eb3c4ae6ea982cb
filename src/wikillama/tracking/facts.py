"""Facts about a run that make it comparable: the resolved configuration, code, packages, hardware."""

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from typing import Any

import torch

from wikillama.config.paths import ROOT, public, without_secrets
from wikillama.config.schema import Section

_PACKAGES = ["torch", "transformers", "peft", "bitsandbytes", "lightning", "mlflow", "mlflow-skinny", "hydra-core"]
# what may differ between two runs of one configuration
INCIDENTAL = ("tracking", "sweep", "resume", "dry_run", "cache_dir")


def shown(node: Any) -> Any:
    """A configuration as others may see it: no home directory, no user and password in a URI."""
    if isinstance(node, dict):
        return {key: shown(value) for key, value in node.items()}
    if isinstance(node, list):
        return [shown(value) for value in node]
    if not isinstance(node, str):
        return node
    return without_secrets(public(node))


def flat(config: Section) -> dict[str, str]:
    """The configuration as MLflow params, with dotted keys, as `shown` shows it."""
    return {key: str(value) for key, value in _leaves(shown(config.model_dump()), "")}


def _leaves(node: Any, prefix: str) -> list[tuple[str, Any]]:
    if not isinstance(node, dict) or not node:
        return [(prefix, node)]
    return [leaf for key, value in node.items() for leaf in _leaves(value, f"{prefix}.{key}" if prefix else key)]


def config_hash(config: Section) -> str:
    """Equal for two runs that would compute the same: the configuration less names and places."""
    kept = {key: shown(value) for key, value in config.model_dump().items() if key not in INCIDENTAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def code_tags() -> dict[str, str]:
    """Commit of the checkout, and whether it had changes; empty outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"wikillama.git_commit": commit, "wikillama.git_dirty": str(dirty).lower()}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def environment_tags() -> dict[str, str]:
    versions = {d.name: d.version for d in metadata.distributions() if d.name in _PACKAGES}
    return {"wikillama.packages": json.dumps(versions, sort_keys=True), "wikillama.hardware": hardware()}


def hardware() -> str:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return f"{name}, {torch.cuda.get_device_properties(0).total_memory / 1e9:.0f} GB"
    return (
        f"{platform.processor() or platform.machine()} CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
