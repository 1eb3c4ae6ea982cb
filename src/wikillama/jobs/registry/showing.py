"""`show`: one version with its tags and its card."""

from rich.table import Table

from wikillama.config.registry import RegistryConfig
from wikillama.jobs.console import console
from wikillama.jobs.registry.listing import created
from wikillama.tracking.registry.versions import find_version
from wikillama.tracking.run import open_client


def show_version(cfg: RegistryConfig) -> None:
    """Print all that the registry knows of a version. Raises InputError where there is none such."""
    version = find_version(open_client(cfg.tracking.uri), cfg.registered, str(cfg.version))
    facts = Table.grid(padding=(0, 2))
    facts.add_row("version", f"{version.name} {version.version}")
    facts.add_row("aliases", ", ".join(version.aliases) or "none")
    facts.add_row("created", created(version.creation_timestamp))
    facts.add_row("run", version.run_id or "none")
    for key in sorted(version.tags):
        facts.add_row(key, version.tags[key])
    console.print(facts, markup=False)
    if version.description:
        console.print()
        console.print(version.description, markup=False, soft_wrap=True)
