"""An index for jobs that may not need it: nothing is imported, made or opened before something is looked up."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from wikillama.config.schema import DataConfig, KnowledgeConfig, RetrieverConfig
from wikillama.errors import InputError

if TYPE_CHECKING:
    from wikillama.data.retrieval.index import Index


@dataclass(frozen=True, slots=True)
class IndexSource:
    """An index that is opened, and made if need be, when it is first asked for.

    `fingerprint` is of all that decides on what a search finds.
    """

    fingerprint: str
    open: "Callable[[], Index]"


def index_source(
    knowledge: KnowledgeConfig,
    retriever: RetrieverConfig,
    data: DataConfig,
    cache_dir: str,
    opens: "Callable[[RetrieverConfig, str], Index]",
) -> IndexSource | None:
    """The index that a job's knowledge is looked up in, None where it is in none.

    `opens` is `build.open_index`, or does as much; it is called once. Raises InputError as that does.
    """
    if knowledge.source != "index" or not {"retrieved", "mixed"} & {knowledge.mode, knowledge.held_out}:
        return None
    from wikillama.data.retrieval.build import fingerprint_of

    config = for_corpus(retriever, data)
    fingerprint = f"{fingerprint_of(config, Path(cache_dir).expanduser())} {config.kind} {config.articles}"
    if config.kind == "hybrid":
        fingerprint += f" {config.dense_weight}"
    return IndexSource(fingerprint, cache(partial(opens, config, cache_dir)))


def for_corpus(retriever: RetrieverConfig, data: DataConfig) -> RetrieverConfig:
    """The configuration with `source` filled in: where there is none, a located corpus' own passages.

    Raises InputError where that has none.
    """
    if retriever.source is not None:
        return retriever
    if data.format != "wow":
        raise InputError(
            f"retriever.source: rows of data={data.name} bring no passages; give a folder or file of articles"
        )
    return retriever.model_copy(update={"source": data.path})
