"""What training gets: train and valid from the cache, in batches by length or in packed rows, from any place on."""

from collections.abc import Callable
from itertools import chain, islice, pairwise
from typing import Any

import pytest
import torch

from wikillama.data.batching import Batch
from wikillama.data.datamodule import PackedRows, WowDataModule
from wikillama.data.prepared import TokenizerSource
from wikillama.errors import InputError

BASE = ["model=tiny", "data=wow_mini", "data.max_length=512", "data.limit_train=60", "data.limit_valid=10",
        "trainer.batch_size=4", "trainer.eval_batch_size=3"]  # fmt: skip
PACKED = ["packing=bestfit", "packing.length=1024"]
Make = Callable[..., WowDataModule]


@pytest.fixture
def module(compose: Callable[..., Any], byte_source: TokenizerSource, cache_dir: str) -> Make:
    """`module("packing=bestfit", ...)`: a data module that is not set up yet."""

    def build(*overrides: str, **more: Any) -> WowDataModule:
        cfg = compose(*BASE, *overrides)
        given: dict[str, Any] = {"tokenizer": byte_source, "cache_dir": cache_dir} | more
        return WowDataModule(
            cfg.data, cfg.knowledge, cfg.prompt, cfg.packing, trainer=cfg.trainer, seed=cfg.seed, **given
        )

    return build


def ids(batch: Batch) -> list[tuple[int, ...]]:
    """The ids of each example of a batch."""
    if "cu_seq_lens" not in batch:
        lengths = batch["attention_mask"].sum(1).tolist()
        return [tuple(row[:n]) for row, n in zip(batch["input_ids"].tolist(), lengths, strict=True)]
    real = batch["attention_mask"].flatten().bool()
    flat = batch["input_ids"].flatten().tolist()
    return [tuple(flat[a:b]) for a, b in pairwise(batch["cu_seq_lens"].tolist()) if real[a]]


def of(examples: Any) -> list[tuple[int, ...]]:
    return sorted(tuple(e.input_ids) for e in examples)


def test_it_holds_nothing_before_setup_and_everything_after(module: Make) -> None:
    data = module()
    assert not hasattr(data, "train")
    data.setup("fit")
    assert (len(data.train), len(data.valid)) == (60, 10)
    assert data.prepared.facts.split == "train"
    assert data.prepared.facts.replies > 60
    first, last = data.train[0], data.train[59]
    table = data.prepared.table()["input_ids"]
    places = [0, 59 * data.prepared.facts.replies // 60]
    assert [first.input_ids, last.input_ids] == [table[place].as_py() for place in places]
    before = data.train
    data.setup("fit")  # Lightning asks again
    assert data.train is before


def test_the_cache_serves_the_next_module(module: Make, tmp_path: Any) -> None:
    advanced: list[str] = []
    for expected in ({"extraction", "conversion", "instruction", "training-ready"}, set()):
        advanced.clear()
        data = module(cache_dir=str(tmp_path), advance=lambda stage, done, total: advanced.append(stage))
        data.setup()
        assert set(advanced) == expected
    assert data.prepared.was_there


def test_what_cannot_be_read_stops_setup(module: Make, tmp_path: Any) -> None:
    data = module(f"data.path={tmp_path}")
    with pytest.raises(InputError, match=r"no \w+\.json there"):
        data.setup()
    assert not hasattr(data, "train")


@pytest.mark.parametrize("overrides", [[], PACKED], ids=["padded", "packed"])
def test_an_epoch_holds_each_example_once(module: Make, overrides: list[str]) -> None:
    data = module(*overrides)
    data.setup()
    loader = data.train_dataloader()
    epochs = [list(loader) for _ in range(2)]
    for batches in epochs:
        assert len(batches) == len(loader)
        assert sorted(chain.from_iterable(map(ids, batches))) == of(data.train)
        assert max(len(batch["input_ids"]) for batch in batches) == 4
        assert ("cu_seq_lens" in batches[0]) == bool(overrides)
    assert list(map(ids, epochs[0])) != list(map(ids, epochs[1]))


def test_rows_are_packed_up_to_their_length(module: Make) -> None:
    data = module(*PACKED)
    data.setup()
    rows = PackedRows(data.train, 1024)
    assert sorted(place for row in rows.rows for place in row) == list(range(60))
    assert rows.lengths == [sum(len(e.input_ids) for e in rows[i]) for i in range(len(rows))]
    assert max(rows.lengths) <= 1024
    assert min(map(len, rows.rows)) == 2  # examples have 512 tokens at most
    batches = list(data.train_dataloader())
    assert sum(len(batch["input_ids"]) for batch in batches) == len(rows)
    assert all(batch["input_ids"].shape[1] <= 1024 for batch in batches)


def test_labels_are_the_examples_own(module: Make) -> None:
    data = module(*PACKED)
    data.setup()
    learnt = sorted(tuple(e.input_ids[e.prompt_length :]) for e in data.train)
    found = []
    for batch in data.train_dataloader():
        labels, bounds = batch["labels"].flatten(), batch["cu_seq_lens"].tolist()
        for a, b in pairwise(bounds):
            kept = labels[a:b][labels[a:b] != -100].tolist()
            found += [tuple(kept)] if kept else []
    assert sorted(found) == learnt


@pytest.mark.parametrize("overrides", [[], PACKED], ids=["padded", "packed"])
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_it_goes_on_where_it_was(module: Make, overrides: list[str], taken: int) -> None:
    def fresh() -> WowDataModule:
        data = module(*overrides, "seed=3")
        data.setup()
        return data

    whole = [ids(batch) for batch in fresh().train_dataloader()]
    stopped = fresh()
    assert stopped.state_dict() == {}  # no loader yet
    list(islice(stopped.train_dataloader(), taken))
    resumed = fresh()
    resumed.load_state_dict(stopped.state_dict())
    assert [ids(batch) for batch in resumed.train_dataloader()] == whole[taken:]
    other = module(*overrides, "seed=4")
    other.setup()
    assert [ids(batch) for batch in other.train_dataloader()] != whole


def test_valid_is_padded_by_length_whatever_train_is(module: Make) -> None:
    data = module(*PACKED)
    data.setup()
    batches = list(data.val_dataloader())
    assert [len(batch["input_ids"]) for batch in batches] == [3, 3, 3, 1]
    found = list(chain.from_iterable(map(ids, batches)))
    assert sorted(found) == of(data.valid)
    assert [len(row) for row in found] == sorted(map(len, found))
    assert all("cu_seq_lens" not in batch for batch in batches)


def test_padding_is_the_tokenizers(module: Make, byte_tokenizer: Any) -> None:
    data = module()
    data.setup()
    assert data.pad_id == byte_tokenizer.pad_token_id
    batch = next(iter(data.train_dataloader()))
    padding = batch["input_ids"][batch["attention_mask"] == 0]
    assert torch.equal(padding, torch.full_like(padding, byte_tokenizer.pad_token_id))
