"""The registry of adapters: list, show, promote, export, merge, import, sync. The action comes first.

python registry.py list
python registry.py promote version=3 alias=champion
python registry.py --help
"""

import sys

from wikillama.config import cli
from wikillama.config.registry import RegistryConfig, arguments, check_registry


def main(cfg: RegistryConfig) -> None:
    check_registry(cfg)
    from wikillama.jobs.registry import act  # torch and friends take seconds; a mistyped action should not

    act(cfg)


if __name__ == "__main__":
    sys.argv[1:] = arguments(sys.argv[1:])
    cli.run("registry", RegistryConfig, main)
