"""What choices of Hydra's plugins for sweeps mean here.

`hydra/launcher=joblib` keeps the jobs at work apart, see `hydra_plugins.wikillama_processes`. `hydra/sweeper=optuna`
looks where the objective gets better, one trial at a time, and goes on behind one that fails; the plugin's own defaults
are to minimize, two at a time, and to stop.
"""

from contextlib import suppress
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins


@dataclass
class _JobProcesses:
    _target_: str = "hydra_plugins.wikillama_processes.JobProcesses"
    n_jobs: int = -1  # at once; -1: one a core


def prefer_own_choices() -> None:
    """Put ours in the place of the plugins'. Hydra loads those in an order of its own, and the last one counts."""
    Plugins.instance()  # loads them
    store = ConfigStore.instance().store
    store("joblib", _JobProcesses, group="hydra/launcher", provider="wikillama")
    with suppress(ImportError):  # searches are an extra
        from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf  # type: ignore[import-untyped]

        search = OptunaSweeperConf(direction="${direction:${sweep.objective}}", n_jobs=1, max_failure_rate=1.0)
        store("optuna", search, group="hydra/sweeper", provider="wikillama")
