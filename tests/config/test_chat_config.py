"""The configuration of chat.py, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.chat import BASE, check_chat
from wikillama.errors import InputError


def test_it_talks_to_this_machine_alone_unless_told(compose: Callable[..., Any]) -> None:
    cfg = compose(name="chat")
    check_chat(cfg)
    assert cfg.host == "127.0.0.1"
    assert cfg.systems == ["models:/wiki-llama@candidate"]
    assert compose("beside=base", name="chat").systems == ["models:/wiki-llama@candidate", BASE]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("knowledge=gold",), "use knowledge=retrieved|none"),
        (("knowledge=shuffled",), "use knowledge=retrieved|none"),
        (("adapter=base", "beside=base"), "is the adapter itself"),
        (("retriever.source=no/such",), "retriever.source=no/such: no such file or folder"),
        (("port=70000",), "port"),
        (("ui=telephone",), "ui"),
        (("temperature=3",), "temperature"),
    ],
)
def test_what_it_refuses(compose: Callable[..., Any], overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("|", r"\|")):
        check_chat(compose(*overrides, name="chat"))


def test_rows_without_passages_need_articles(compose: Callable[..., Any], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    with pytest.raises(InputError, match=r"give retriever\.source=FOLDER"):
        check_chat(compose("data=jsonl", f"data.train={rows}", name="chat"))
