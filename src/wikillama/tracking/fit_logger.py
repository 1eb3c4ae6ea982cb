"""Lightning's logger into a run of ours; in a module of its own, since Lightning takes seconds to import."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from wikillama.tracking.sending import Sender


class FitLogger(Logger):
    """What a fit logs goes into a run that was there before it and goes on after it."""

    def __init__(self, sender: Sender, run_id: str) -> None:
        super().__init__()
        self._sender, self._run_id = sender, run_id

    @property
    def name(self) -> str:
        return "mlflow"

    @property
    def version(self) -> str:
        return self._run_id

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._sender.metrics(metrics, step or 0)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run holds the whole configuration already."""
