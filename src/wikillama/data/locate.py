"""Brings a corpus to where it can be read."""

import hashlib
from pathlib import Path

from wikillama.config.schema import DataConfig
from wikillama.data.archive import extract
from wikillama.data.download import Progress, download, verify
from wikillama.data.hashing import remembered_sha256
from wikillama.data.wow import SPLIT_FILES, TOPIC_SPLITS


def locate(data: DataConfig, cache_dir: str, progress: Progress | None = None) -> DataConfig:
    """The configuration with `path` filled in: where there is none, that of the archive's files, unpacked in the cache.

    The archive is `data.archive`, or what `data.url` gives, downloaded once. Raises InputError where it cannot be had
    or is not what `data.sha256` says.
    """
    if data.format != "wow" or data.path is not None:
        return data
    cache = Path(cache_dir).expanduser()
    if data.archive is not None:
        archive = Path(data.archive).expanduser()
        verify(archive, data.sha256)
    else:
        assert data.url is not None  # `config.rules.check_data` saw to it
        address = hashlib.sha256(data.url.encode()).hexdigest()[:8]  # files of several addresses may share a name
        archive = cache / "downloads" / address / data.url.rsplit("/", 1)[-1]
        download(data.url, archive, data.sha256, progress)
    digest = data.sha256 or remembered_sha256(archive, cache)
    folder = cache / "corpora" / f"{data.name}-{digest[:16]}"
    extract(archive, [*SPLIT_FILES.values(), TOPIC_SPLITS], folder, progress)
    return data.model_copy(update={"path": str(folder)})
