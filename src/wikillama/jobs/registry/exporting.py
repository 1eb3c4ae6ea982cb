"""`export`: a version as a folder for PEFT, the Hub and vLLM."""

from pathlib import Path

from rich.table import Table

from wikillama.config.registry import RegistryConfig
from wikillama.jobs.console import console
from wikillama.model.recipe import read_recipe
from wikillama.tracking.locating import adapter_folder
from wikillama.tracking.registry.export import export
from wikillama.tracking.registry.versions import Version, find_version, params_of
from wikillama.tracking.run import open_client


def export_version(cfg: RegistryConfig) -> None:
    """Write the folder and say how it is served. Raises InputError where that cannot be."""
    assert cfg.out is not None  # `check_registry` saw to it
    client = open_client(cfg.tracking.uri)
    version = find_version(client, cfg.registered, str(cfg.version))
    source = adapter_folder(f"models:/{version.name}/{version.version}", cfg.tracking.uri)
    params = params_of(client, version)
    named = Version(version.name, str(version.version), None)
    done = export(source, Path(cfg.out).expanduser(), named, read_recipe(source), version.tags, params)
    files = Table("file", "bytes", title=f"{version.name} version {version.version} in {cfg.out}", title_justify="left")
    for file in sorted(done.folder.iterdir()):
        files.add_row(file.name, f"{file.stat().st_size:,}")
    console.print(files)
    console.print(f"base          {done.base}", soft_wrap=True)
    if done.obstacles:
        console.print(f"vLLM          cannot serve it: {'; '.join(done.obstacles)}", soft_wrap=True)
    else:
        console.print(f"vLLM          {done.command}", soft_wrap=True, markup=False)
