"""The registry of adapters: versions with tags, cards and aliases, and where an adapter's URI points."""

from wikillama.tracking.locating import adapter_folder
from wikillama.tracking.registry.versions import ADAPTER, Version, register

__all__ = ["ADAPTER", "Version", "adapter_folder", "register"]
