"""Knowledge that is looked up in an index: what is asked of it, and what comes of its answers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from wikillama.config.paths import ROOT
from wikillama.config.schema import DataConfig, KnowledgeConfig, RetrieverConfig, RowFields
from wikillama.data.corpus import load_examples
from wikillama.data.dialogue import Dialogue, Example, Sentence, Turn
from wikillama.data.grounding import ground
from wikillama.data.prepared import prepare
from wikillama.data.retrieval.build import open_index
from wikillama.data.retrieval.index import Found
from wikillama.data.retrieval.on_demand import IndexSource, index_source

DIALOGUE = Dialogue(
    id="tea:0",
    topic="Tea",
    turns=(
        Turn("wizard", "Shall we talk?", target=True),
        Turn("apprentice", "Yes, on cups."),
        Turn("wizard", "They break.", knowledge="Cups break.", target=True),
        Turn("apprentice", "I know."),
        Turn("wizard", "SECRET reply.", knowledge="SECRET gold.", target=True),
    ),
)
ANSWERS = tuple(f"Sentence {n}." for n in range(8))


@dataclass
class Asked:
    """An index that notes what it is asked, and has the same answers for all."""

    answers: Sequence[str] = ANSWERS
    noted: list[tuple[Any, ...]] = field(default_factory=list)

    def search(self, topic: str | None, turns: Sequence[str], k: int, told: Sequence[str]) -> list[Found]:
        self.noted.append((topic, list(turns), k, list(told)))
        return [Found(Sentence("T", text), "T", "s", 1.0) for text in self.answers[:k]]


def grounded(asked: Asked, dialogue: Dialogue = DIALOGUE, **given: Any) -> list[Example]:
    knowledge = KnowledgeConfig(source="index", **given)
    return list(ground([dialogue], knowledge, index=IndexSource("f", lambda: asked)))  # type: ignore[arg-type,return-value]


def test_it_is_asked_with_what_was_known_before_the_reply() -> None:
    asked = Asked()
    examples = grounded(asked, mode="retrieved", k=3)
    assert asked.noted == [
        ("Tea", [], 3, []),
        ("Tea", ["Shall we talk?", "Yes, on cups."], 3, []),
        ("Tea", ["Shall we talk?", "Yes, on cups.", "They break.", "I know."], 3, ["Cups break."]),
    ]
    assert "SECRET" not in str(asked.noted)
    for example in examples:
        assert example.knowledge == tuple(Sentence("T", text) for text in ANSWERS[:3])


def test_mixed_hides_the_gold_sentence_among_what_is_found() -> None:
    asked = Asked(("SECRET gold.", *ANSWERS))
    last = grounded(asked, mode="mixed", distractors=4)[-1]
    assert asked.noted[-1][2] == 5
    assert sorted(last.knowledge) == [("T", "SECRET gold."), *(("T", text) for text in ANSWERS[:4])]
    orders = {
        tuple(grounded(Asked(), replace(DIALOGUE, id=f"{n}"), mode="mixed", distractors=4)[-1].knowledge)
        for n in range(30)
    }
    assert len(orders) > 10
    assert len({order.index(Sentence(None, "SECRET gold.")) for order in orders}) == 5
    assert grounded(Asked(), mode="mixed", dropout=0.999)[-1].knowledge == ()


@pytest.mark.parametrize("mode", ["gold", "none", "shuffled"])
def test_other_modes_ask_nothing(mode: str) -> None:
    asked = Asked()
    grounded(asked, mode=mode)
    assert not asked.noted


@pytest.fixture
def rows(tmp_path: Path) -> DataConfig:
    path = tmp_path / "rows.jsonl"
    given = [
        {"context": ["Do you drink tea?"], "knowledge": "Tea is hot.", "response": "Daily!"},
        {"context": ["What do bees make?"], "knowledge": "", "response": "Honey."},
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in given))
    files = {name: str(path) for name in ("train", "valid", "test")}
    return DataConfig(name="rows", format="jsonl", fields=RowFields(), holdout=0.1, **files)  # type: ignore[arg-type]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "Tea.txt").write_text("Tea is a drink. Tea is hot.")
    (folder / "Bees.txt").write_text("Bees make honey. They sleep.")
    return folder


def index_of(data: DataConfig, knowledge: KnowledgeConfig, source: Path | None, cache: Path) -> IndexSource | None:
    retriever = RetrieverConfig(source=str(source) if source else None)
    return index_source(knowledge, retriever, data, str(cache), open_index)


def test_rows_without_passages_get_knowledge(rows: DataConfig, sources: Path, tmp_path: Path) -> None:
    knowledge = KnowledgeConfig(mode="retrieved", source="index", k=2)
    index = index_of(rows, knowledge, sources, tmp_path / "cache")
    tea, bees = load_examples(rows, knowledge, "test_seen", 0, index)
    assert set(tea.knowledge) == {("Tea", "Tea is a drink."), ("Tea", "Tea is hot.")}
    assert bees.knowledge[0] == Sentence("Bees", "Bees make honey.")


def test_what_was_prepared_depends_on_the_index(
    rows: DataConfig, sources: Path, byte_source: Any, tmp_path: Path, compose: Callable[..., Any]
) -> None:
    prompt, cache = compose(name="prepare").prompt, tmp_path / "cache"

    def prepared(mode: Any, source: Any = "index") -> tuple[str, str]:
        knowledge = KnowledgeConfig(mode=mode, source=source)
        index = index_of(rows, knowledge, sources, cache)
        found = prepare(rows, knowledge, prompt, "train", byte_source, str(cache), index=index)
        return found.folder.name, found.facts.fingerprint

    first, gold = prepared("retrieved"), prepared("gold")
    assert prepared("retrieved") == first
    (sources / "Tea.txt").write_text("Tea is made of leaves.")
    second = prepared("retrieved")
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert prepared("gold") == gold  # which looks up nothing


def test_dialogues_of_the_corpus_find_their_own_passages(tmp_path: Path) -> None:
    data = DataConfig(name="wow_mini", format="wow", path=str(ROOT / "data" / "wow_mini"), holdout=0.1)
    knowledge = KnowledgeConfig(mode="retrieved", source="index", k=7)
    examples = load_examples(data, knowledge, "test_unseen", 0, index_of(data, knowledge, None, tmp_path))
    asked = [example for example in examples if example.gold_knowledge and example.history]
    found = sum(example.gold_knowledge in [shown.text for shown in example.knowledge] for example in asked)
    assert len(asked) > 30
    assert found / len(asked) > 0.6
    assert all(len(example.knowledge) == 7 for example in asked)
