"""What a retriever needs before anything is built."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.rules import check_evaluate, check_knowledge, check_prepare, check_train
from wikillama.errors import InputError

CHECKS = {"train": check_train, "evaluate": check_evaluate, "prepare": check_prepare}
LOOKED_UP = ("knowledge=retrieved", "knowledge.source=index")


@pytest.fixture
def rows(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "rows.jsonl").write_text("{}")
    return "data=jsonl", f"data.train={tmp_path / 'rows.jsonl'}"


@pytest.mark.parametrize("kind", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize("name", CHECKS)
def test_each_kind_composes(compose: Callable[..., Any], name: str, kind: str) -> None:
    cfg = compose(*LOOKED_UP, "data=wow_mini", f"retriever={kind}", name=name)
    CHECKS[name](cfg)
    assert (cfg.retriever.kind, cfg.retriever.source, cfg.knowledge.source) == (kind, None, "index")


def test_passages_stay_the_default(compose: Callable[..., Any]) -> None:
    for mode in ("retrieved", "mixed"):
        assert compose(f"knowledge={mode}").knowledge.source == "passages"
    assert compose().retriever.kind == "bm25"


@pytest.mark.parametrize("name", CHECKS)
def test_rows_without_passages_need_a_source(
    compose: Callable[..., Any], rows: tuple[str, str], tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"knowledge=retrieved chooses from passages.*knowledge\.source=index"):
        CHECKS[name](compose(*rows, "knowledge=retrieved", name=name))
    with pytest.raises(InputError, match=r"^retriever\.source: rows of data=jsonl bring no passages; give "):
        CHECKS[name](compose(*rows, *LOOKED_UP, name=name))
    CHECKS[name](compose(*rows, *LOOKED_UP, f"retriever.source={tmp_path}", name=name))


def test_mixed_knowledge_may_be_looked_up(compose: Callable[..., Any], rows: tuple[str, str], tmp_path: Path) -> None:
    given = (*rows, "knowledge=mixed", "knowledge.source=index")
    check_train(compose(*given, f"retriever.source={tmp_path}"))
    with pytest.raises(InputError, match=r"^retriever\.source"):
        check_train(compose(*given))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("retriever.source=nowhere", r"^retriever\.source=nowhere: no such file or folder$"),
        ("retriever.encoder=nowhere", r"^retriever\.encoder=nowhere: no config\.json there"),
    ],
)
def test_what_is_not_there_is_said_at_once(compose: Callable[..., Any], given: str, said: str) -> None:
    both = ("data=wow_mini", "retriever=dense", given)
    with pytest.raises(InputError, match=said):
        check_evaluate(compose(*LOOKED_UP, *both, name="evaluate"))
    with pytest.raises(InputError, match=said):
        check_prepare(compose("index=true", *both, name="prepare"))
    check_prepare(compose(*both, name="prepare"))  # nobody looks anything up


def test_a_job_that_has_no_index_refuses_to_look_up(compose: Callable[..., Any]) -> None:
    cfg = compose(*LOOKED_UP, "data=wow_mini", name="evaluate")
    with pytest.raises(InputError, match=r"^knowledge\.source=index: nothing looks up an index here"):
        check_knowledge(cfg.knowledge, cfg.data, trains=False)
