"""The actions of registry.py, one module each."""

from wikillama.config.registry import RegistryConfig
from wikillama.jobs.console import quiet_libraries


def act(cfg: RegistryConfig) -> None:
    """Do what `cfg.action` says. Raises InputError for what cannot be done."""
    quiet_libraries()
    match cfg.action:
        case "list":
            from wikillama.jobs.registry.listing import list_versions

            list_versions(cfg)
        case "show":
            from wikillama.jobs.registry.showing import show_version

            show_version(cfg)
        case "promote":
            from wikillama.jobs.registry.promoting import promote_version

            promote_version(cfg)
        case "export":
            from wikillama.jobs.registry.exporting import export_version

            export_version(cfg)
        case "merge":
            from wikillama.jobs.registry.merging import merge_version

            merge_version(cfg)
        case "import":
            from wikillama.jobs.registry.importing import import_adapter

            import_adapter(cfg)
        case "sync":
            from wikillama.jobs.sync import sync

            sync(cfg)
