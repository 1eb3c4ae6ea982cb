"""`promote`: lets an alias point to a version that is no worse than the one it points to now."""

from rich.table import Table

from wikillama.config.registry import RegistryConfig
from wikillama.errors import InputError
from wikillama.jobs.console import console
from wikillama.tracking.registry.promotion import Promotion, promote, weigh
from wikillama.tracking.registry.versions import find_version
from wikillama.tracking.run import open_client


def promote_version(cfg: RegistryConfig) -> None:
    """Move the alias and record who did it, when and why.

    Raises InputError for a version that has no evaluation or is worse than the present holder, unless it is forced.
    """
    assert cfg.alias is not None  # `check_registry` saw to it
    client = open_client(cfg.tracking.uri)
    version = find_version(client, cfg.registered, str(cfg.version))
    if cfg.alias in version.aliases:
        console.print(f"{version.name} version {version.version} is {cfg.alias} already")
        return
    promotion = weigh(client, version, cfg.alias)
    if promotion.verdicts:
        console.print(_table(promotion))
    if promotion.objection is not None and not cfg.force:
        raise InputError(f'promote: {promotion.objection}; or give force=true reason="..."')
    promote(client, promotion, cfg.reason if cfg.force else None)
    before = f"; version {promotion.holder.version} before" if promotion.holder else ""
    console.print(f"{version.name} version {version.version} is {cfg.alias} now{before}")
    if promotion.objection is not None:
        console.print(f"forced, although {promotion.objection}", markup=False)


def _table(promotion: Promotion) -> Table:
    assert promotion.holder is not None  # there is something to compare with
    title = f"version {promotion.version.version} minus version {promotion.holder.version}, {promotion.alias} so far"
    table = Table("on", "metric", "difference [95 %]", "test", "", title=title, title_justify="left")
    for verdict in promotion.verdicts:
        on, metric, difference, test = verdict.cells
        table.add_row(on, metric, difference, test, "worse" if verdict.worse else "")
    return table
