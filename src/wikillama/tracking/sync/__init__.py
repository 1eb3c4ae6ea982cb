"""Copies an experiment of this machine's sqlite store to a server: runs, artifacts and registered versions.

A second call copies nothing, and one after an interruption goes on. MLflow 3.17 has nothing for this: it moves file
stores into sqlite and copies versions within one registry. mlflow-export-import goes through folders and makes every
run anew each time (its #178); its release on PyPI, 1.2.0 of February 2023, knows no aliases.

What is under review (traces and their assessments) is not copied: people judge in one place.
"""

from wikillama.tracking.sync.store import Synced, sync_store

__all__ = ["Synced", "sync_store"]
