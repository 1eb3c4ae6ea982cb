"""Reads the rows of a dataset on the Hugging Face hub, or in a local folder that `datasets.load_dataset` can read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import orjson

from wikillama.config.schema import DataConfig
from wikillama.data.rows import Row
from wikillama.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset


def open_split(data: DataConfig, split: str) -> "Dataset":
    """The rows of a split, memory-mapped from the cache of `datasets`. Raises InputError where it cannot be had."""
    import datasets  # takes a second or two; nobody whose data is a file should wait for it
    from datasets.exceptions import DatasetBuildError, DatasetNotFoundError

    assert data.hub_id is not None  # `config.rules.check_data` saw to it
    where = f"data.hub_id={data.hub_id}"
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(data.hub_id, data.hub_config, split=split, revision=data.revision)
    except DatasetNotFoundError as error:
        raise InputError(
            f"{where}: neither a folder here nor a dataset that this machine can read on the hub (private ones need "
            "`hf auth login`; without a network give a local folder)"
        ) from error
    except (OSError, ValueError, DatasetBuildError, StopIteration) as error:  # the last for a file without a row
        problem = error.__cause__ if isinstance(error, DatasetBuildError) else error  # itself it says only that it is
        reason = (str(problem).splitlines() or ["no rows in it"])[0]
        raise InputError(f"{where}, split {split}: cannot be loaded ({reason})") from error
    assert isinstance(found, datasets.Dataset)
    return found


def read_hub(rows: "Dataset", where: str) -> Iterator[Row]:
    """Yield each row. Raises InputError for a split without rows."""
    if not len(rows):
        raise InputError(f"{where}: the split is empty")
    for number, row in enumerate(rows, start=1):
        yield Row(f"{where}: row {number}", orjson.dumps(row, default=str), row)
