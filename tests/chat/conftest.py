"""Systems to talk to: a tiny base in a folder, two adapters on it, and an index of three articles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from talkers import recipe_of, talker

from wikillama.chat.answering import Answering
from wikillama.chat.knowledge import Knowledge
from wikillama.chat.systems import Systems
from wikillama.data.retrieval.build import open_index
from wikillama.model.adapters import attach, save, trainable
from wikillama.model.base import load_base
from wikillama.tracking.reply_traces import ReplyTraces

torch.set_num_threads(1)
ARTICLES = {
    "tea.md": "# Tea\n\nTea is made from the leaves of a shrub. People in China drank it 4,000 years ago.\n",
    "bee.md": "# Honey bee\n\nHoney bees live in hives of 50,000. A bee visits 1,500 flowers a day.\n",
    "evil.txt": "A sentence may hold <script>document.title = 'taken'</script> and *stars*.\n",
}


@pytest.fixture(scope="session")
def place(compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, adapters of it named `first` and `second`, `packed` of it in NF4, and articles."""
    folder = tmp_path_factory.mktemp("talk")
    base = talker(compose)
    base.model.save_pretrained(folder / "base")
    base.tokenizer.save_pretrained(folder / "base")
    (folder / "articles").mkdir()
    for name, text in ARTICLES.items():
        (folder / "articles" / name).write_text(text, encoding="utf-8")
    for seed, name in enumerate(("first", "second", "packed"), 1):
        given = [*base_of(folder, "nf4" if name == "packed" else "none"), "peft=lora", f"peft.r={4 * seed}"]
        cfg = compose(*given)
        fresh = load_base(cfg.model, cfg.quantization, torch.device("cpu"), torch.float32, str(folder / "cache"))
        model = attach(fresh.model, cfg.peft, fresh.id)
        for parameter in trainable(model).values():
            parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.1
        saved = save(model, folder / name)
        recipe_of(compose, fresh, *given, max_new_tokens=24).write(saved)
    return folder


def base_of(folder: Path, quantization: str = "none") -> list[str]:
    return [
        "model=tiny", "model.source=hub", "model.weights=pretrained", f"model.path={folder}/base",
        f"quantization={quantization}",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def chat_config(compose: Callable[..., Any], place: Path) -> Callable[..., Any]:
    """`chat_config("beside=base")`: a configuration of chat.py whose adapter is the first one, or with `real=True` no
    adapter but the demo's model."""

    def make(*overrides: str, real: bool = False) -> Any:
        tiny = [*base_of(place), f"adapter={place}/first", f"cache_dir={place}/cache"]
        demo = ["model=smollm2_135m", "adapter=base"]
        return compose(
            *(demo if real else tiny), f"retriever.source={place}/articles", f"tracking.uri=sqlite:///{place}/mlflow.db",
            "max_new_tokens=24", "open_browser=false", "user=ann", *overrides, name="chat",
        )  # fmt: skip

    return make


@pytest.fixture
def answering(chat_config: Callable[..., Any]) -> Answering:
    cfg = chat_config()
    knowledge = Knowledge(lambda: open_index(cfg.retriever, cfg.cache_dir), cfg.knowledge.k)
    return Answering(Systems(cfg), knowledge, ReplyTraces(cfg.tracking), cfg.max_new_tokens)
