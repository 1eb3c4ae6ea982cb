"""Copies what this machine's store holds to a server, with a bar while it lasts and a table of what was done."""

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from wikillama.config.registry import RegistryConfig
from wikillama.config.schema import TrackingConfig
from wikillama.errors import InputError
from wikillama.jobs.console import console
from wikillama.tracking.facts import shown
from wikillama.tracking.sync import Synced, sync_store


def sync(cfg: RegistryConfig) -> Synced:
    """Copy the runs and versions of the experiment that `cfg` names to the server `cfg.to`. Raises InputError."""
    if cfg.to is None:
        raise InputError("sync: give to=http://HOST:PORT, the address of an MLflow server")
    found = _copied(cfg.tracking, cfg.to)
    table = Table(title=f"{cfg.tracking.experiment} -> {escape(shown(cfg.to))}", title_justify="left")
    for column in ("", "copied", "updated", "unchanged"):
        table.add_column(column)
    table.add_row("runs", str(found.copied), str(found.updated), str(found.unchanged))
    versions = (found.versions_copied, found.versions_updated, found.versions_unchanged)
    table.add_row("versions", *map(str, versions))
    console.print(table)
    if found.aliases:
        console.print(f"{found.aliases} aliases set")
    for line in found.left:
        console.print(line, soft_wrap=True, markup=False)
    return found


def _copied(tracking: TrackingConfig, to: str) -> Synced:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("runs", total=None)
        return sync_store(
            tracking.uri,
            tracking.experiment,
            to,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
