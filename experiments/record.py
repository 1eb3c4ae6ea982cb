"""Writes what an MLflow run came to as JSON, for the folder of its study.

python experiments/record.py RUN_ID experiments/demo/results.json [STORE_URI]
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from wikillama.tracking.facts import shown
from wikillama.tracking.loading import DEFAULT_STORE
from wikillama.tracking.run import open_client

_TAGS = ("mlflow.runName", "wikillama.")
_NOT_HERE = ("wikillama.checkpoints",)


def main(run_id: str, target: str, store: str = DEFAULT_STORE) -> None:
    run = open_client(store).get_run(run_id)
    tags = {k: v for k, v in run.data.tags.items() if k.startswith(_TAGS) and k not in _NOT_HERE}
    record = {
        "run_id": run_id,
        "status": run.info.status,
        "date": datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        "tags": dict(sorted(tags.items())),
        "params": shown(dict(sorted(run.data.params.items()))),
        "metrics": dict(sorted(run.data.metrics.items())),
    }
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
