"""A PostgreSQL database as the store, without a server in front of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from servers import MISSING, PASSWORD, USER, postgres

from wikillama.config.paths import ROOT
from wikillama.tracking.loading import load_adapter
from wikillama.tracking.registry.versions import register
from wikillama.tracking.run import open_client, tracked_run

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with postgres() as port:
        yield f"postgresql+psycopg2://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/mlflow"


def test_a_run_and_its_adapter_go_in_and_come_out(
    job: Callable[..., Any],
    adapter: Callable[[Any], tuple[Any, Path]],
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wikillama.tracking.run.ROOT", tmp_path)
    cfg = job(f"tracking.uri={uri}", "tracking.system_metrics=false")
    _, folder = adapter(cfg)
    with tracked_run(cfg.tracking, cfg, tmp_path) as run:
        run.metrics({"val/loss": 2.5})
        run.artifacts(folder, "adapter")
        version = register(run, "wiki-llama", "candidate", {})
    found = open_client(uri).get_run(run.id)
    assert (found.info.status, found.data.metrics["val/loss"]) == ("FINISHED", 2.5)
    assert found.info.artifact_uri.startswith((tmp_path / "mlruns" / "artifacts").as_uri())
    everything = str(found.data.params) + str(found.data.tags) + (tmp_path / "mlruns").as_posix()
    assert PASSWORD not in everything
    assert quote(PASSWORD, safe="") not in everything
    assert version.number == "1"
    assert load_adapter("models:/wiki-llama@candidate", uri).reply(["Hi!"], max_new_tokens=4) is not None
    assert str(ROOT) not in found.info.artifact_uri
