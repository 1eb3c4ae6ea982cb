"""An index for a job: when there is one, what its fingerprint is of, and that it is opened once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig, KnowledgeConfig, RetrieverConfig
from wikillama.data.retrieval.build import open_index
from wikillama.data.retrieval.index import Index
from wikillama.data.retrieval.on_demand import IndexSource, for_corpus, index_source
from wikillama.errors import InputError

MINI = DataConfig(name="wow_mini", format="wow", path=str(ROOT / "data" / "wow_mini"), holdout=0.1)
ROWS = DataConfig(name="rows", format="jsonl", train="rows.jsonl", holdout=0.1)


def never(config: RetrieverConfig, cache_dir: str) -> Index:
    raise AssertionError("nothing was looked up")


@pytest.fixture
def wanted(articles: Path, tmp_path: Path) -> Callable[..., IndexSource | None]:
    def wanted(mode: Any = "retrieved", of: Any = "index", held_out: Any = None, **given: Any) -> IndexSource | None:
        knowledge = KnowledgeConfig(mode=mode, source=of, held_out=held_out)
        retriever = RetrieverConfig(**{"source": str(articles), **given})
        return index_source(knowledge, retriever, MINI, str(tmp_path), never)

    return wanted


def test_only_knowledge_that_is_looked_up_has_an_index(wanted: Callable[..., IndexSource | None]) -> None:
    for mode, held_out in (("retrieved", None), ("mixed", "gold"), ("gold", "retrieved")):
        assert wanted(mode, held_out=held_out) is not None
        assert wanted(mode, "passages", held_out) is None
    for mode in ("gold", "none", "shuffled"):
        assert wanted(mode) is None


def test_the_fingerprint_is_of_all_that_decides(
    wanted: Callable[..., IndexSource], articles: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(articles.read_bytes() + b"\n")
    made = [wanted(), wanted(articles=3), wanted(source=str(other)), wanted(on_bad_row="skip")]
    assert len({one.fingerprint for one in made}) == 4
    assert wanted().fingerprint == wanted(dense_weight=0.5).fingerprint  # nothing to a search by words


def test_it_is_opened_once(articles: Path, tmp_path: Path) -> None:
    calls = []

    def opens(config: RetrieverConfig, cache_dir: str) -> Index:
        calls.append((config.source, cache_dir))
        return open_index(config, cache_dir)

    knowledge = KnowledgeConfig(mode="retrieved", source="index")
    source = index_source(knowledge, RetrieverConfig(source=str(articles)), MINI, str(tmp_path), opens)
    assert source is not None
    assert not calls
    assert source.open() is source.open()
    assert calls == [(str(articles), str(tmp_path))]


def test_without_a_source_it_is_the_corpus_own_passages() -> None:
    assert for_corpus(RetrieverConfig(), MINI).source == MINI.path
    assert for_corpus(RetrieverConfig(source="elsewhere"), MINI).source == "elsewhere"
    assert for_corpus(RetrieverConfig(source="elsewhere"), ROWS).source == "elsewhere"
    with pytest.raises(InputError, match=r"^retriever\.source: rows of data=rows bring no passages; give "):
        for_corpus(RetrieverConfig(), ROWS)
