"""Batches: padding, packed rows, grouping by length, an order that depends on seed and epoch alone, and resuming."""

import random
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from wikillama.data.batching import (
    Collator,
    LengthGroupedBatches,
    PackingCollator,
    ResumableLoader,
    sequence_numbers,
    worked,
)
from wikillama.data.encode import IGNORED, Encoded
from wikillama.errors import InputError

PAD = 0


def examples(n: int, seed: int = 0) -> list[Encoded]:
    """Examples whose first id is their number, and whose lengths spread as those of dialogues do."""
    draw = random.Random(seed)
    lengths = [5 + int(draw.lognormvariate(5, 0.5)) for _ in range(n)]
    return [Encoded([number, *[7] * (length - 1)], length // 2) for number, length in enumerate(lengths)]


@pytest.mark.parametrize("lengths", [[1], [8], [9], [3, 17, 16], [4, 4, 4]])
def test_collator_pads_to_multiples_of_eight(lengths: list[int]) -> None:
    batch = Collator(PAD)([Encoded([PAD, *[5] * (n - 1)], n // 2) for n in lengths])  # the pad id occurs in the text
    width = batch["input_ids"].shape[1]
    assert width % 8 == 0
    assert max(lengths) <= width < max(lengths) + 8
    for name in ("input_ids", "attention_mask", "labels"):
        assert batch[name].shape == (len(lengths), width)
        assert batch[name].dtype == torch.int64
    for row, n in enumerate(lengths):
        assert batch["input_ids"][row].tolist() == [PAD, *[5] * (n - 1), *[PAD] * (width - n)]
        assert batch["attention_mask"][row].tolist() == [1] * n + [0] * (width - n)
        learnt = [5] * (n - n // 2) if n > 1 else [PAD]
        assert batch["labels"][row].tolist() == [IGNORED] * (n // 2) + learnt + [IGNORED] * (width - n)


def test_a_pad_id_in_the_reply_is_learnt() -> None:
    batch = Collator(PAD)([Encoded([5, PAD, PAD, 6], 1)])
    assert batch["labels"][0].tolist() == [IGNORED, PAD, PAD, 6, *[IGNORED] * 4]
    assert batch["attention_mask"][0].sum() == 4


def packed(*rows: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Rows of examples of these lengths, the first half of each being the prompt; ids count up from 100."""
    ids = iter(range(100, 10_000))
    return PackingCollator(PAD)([[Encoded([next(ids) for _ in range(n)], n // 2) for n in row] for row in rows])


def test_packed_rows_by_hand() -> None:
    batch = packed((3, 2), (6, 4), (5,))
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_ids": torch.int64,
        "attention_mask": torch.int64,
        "labels": torch.int64,
        "position_ids": torch.int64,
        "cu_seq_lens": torch.int32,
    }
    i = IGNORED
    assert batch["input_ids"].tolist() == [
        [100, 101, 102, 103, 104, *[PAD] * 11],
        [*range(105, 115), *[PAD] * 6],
        [*range(115, 120), *[PAD] * 11],
    ]
    assert batch["attention_mask"].tolist() == [[1] * 5 + [0] * 11, [1] * 10 + [0] * 6, [1] * 5 + [0] * 11]
    assert batch["labels"].tolist() == [
        [i, 101, 102, i, 104, *[i] * 11],
        [i, i, i, 108, 109, 110, i, i, 113, 114, *[i] * 6],
        [i, i, 117, 118, 119, *[i] * 11],
    ]
    assert batch["position_ids"].tolist() == [
        [0, 1, 2, 0, 1, *range(11)],
        [*range(6), *range(4), *range(6)],
        [*range(5), *range(11)],
    ]
    assert batch["cu_seq_lens"].tolist() == [0, 3, 5, 16, 22, 26, 32, 37, 48]
    assert sequence_numbers(batch).tolist() == [
        [1, 1, 1, 2, 2, *[3] * 11],
        [4] * 6 + [5] * 4 + [6] * 6,
        [7] * 5 + [8] * 11,
    ]


@pytest.mark.parametrize("rows", [[(8,)], [(5, 3), (8,)], [(1, 1, 6), (2, 2)]])
def test_rows_that_are_full_have_no_padding(rows: list[tuple[int, ...]]) -> None:
    batch = packed(*rows)
    assert batch["input_ids"].shape == (len(rows), 8)
    bounds = batch["cu_seq_lens"].tolist()
    assert bounds[0] == 0
    assert bounds[-1] == 8 * len(rows)
    padding = [8 - sum(row) for row in rows]
    lengths = [n for row, left in zip(rows, padding, strict=True) for n in (*row, *[left] * (left > 0))]
    assert [b - a for a, b in pairwise(bounds)] == lengths  # none is empty, which attention kernels do not take
    assert int(batch["attention_mask"].sum()) == sum(map(sum, rows))


@pytest.mark.parametrize("prompt_length", [0, 1, 2])
def test_no_first_token_is_predicted_from_the_example_before(prompt_length: int) -> None:
    batch = PackingCollator(PAD)([[Encoded([5, 6, 7], prompt_length), Encoded([8, 9, 10], prompt_length)]])
    starts = batch["cu_seq_lens"].long()[:-1]
    assert set(batch["labels"].flatten()[starts].tolist()) == {IGNORED}
    learnt = [label for label in batch["labels"][0].tolist() if label != IGNORED]
    from_first = max(1, prompt_length)
    assert learnt == [*[5, 6, 7][from_first:], *[8, 9, 10][from_first:]]


@pytest.mark.parametrize(("n", "size"), [(1, 4), (4, 4), (103, 4), (1000, 8)])
def test_each_epoch_takes_every_index_once(n: int, size: int) -> None:
    order = LengthGroupedBatches([len(e.input_ids) for e in examples(n)], size, seed=0)
    orders = []
    for order.epoch in range(3):
        batches = list(order)
        assert sorted(i for batch in batches for i in batch) == list(range(n))
        assert len(batches) == len(order)
        assert max(map(len, batches)) <= size
        assert sum(len(batch) < size for batch in batches) <= 1
        orders.append(batches)
    assert n <= size or orders[0] != orders[1] != orders[2] != orders[0]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = [len(e.input_ids) for e in examples(200)]
    first, again, other = (LengthGroupedBatches(lengths, 4, seed) for seed in (1, 1, 2))
    torch.rand(3)  # no use of the global generator
    assert first.batches() == first.batches() == again.batches() != other.batches()
    first.epoch = again.epoch = 5
    assert first.batches() == again.batches()


def test_grouping_saves_padding_and_keeps_chance() -> None:
    lengths = [len(e.input_ids) for e in examples(2000)]
    order = LengthGroupedBatches(lengths, 8, seed=0)

    def waste(batches: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in batch) * len(batch) - sum(lengths[i] for i in batch) for batch in batches)

    shuffled = random.Random(0).sample(range(2000), 2000)
    by_chance = [shuffled[i : i + 8] for i in range(0, 2000, 8)]
    assert waste(order.batches()) < 0.15 * waste(by_chance)
    means = [sum(lengths[i] for i in batch) / len(batch) for batch in order.batches()]
    halves = sum(means[:125]) / 125, sum(means[125:]) / 125
    assert 0.8 < halves[0] / halves[1] < 1.25  # long batches do not all come first


@pytest.mark.parametrize("n", [64, 70])
def test_ranks_share_an_epoch(n: int) -> None:
    order = LengthGroupedBatches([len(e.input_ids) for e in examples(n)], 4, seed=0)
    order.ranks = 3
    shares = []
    for order.rank in range(3):
        shares.append(order.batches())
        assert len(shares[-1]) == len(order)
    seen = [i for share in shares for batch in share for i in batch]
    assert len(seen) == len(set(seen)) > n - 3 * 4


def loader_of(n: int, seed: int) -> ResumableLoader:
    made = examples(n)
    return ResumableLoader(made, [len(e.input_ids) for e in made], 4, seed, Collator(PAD))


def numbers(batches: Any) -> list[list[int]]:
    return [batch["input_ids"][:, 0].tolist() for batch in batches]


@pytest.mark.parametrize("taken", [0, 1, 5, 12, 13, 14, 20])
def test_a_loader_goes_on_where_it_was(taken: int) -> None:
    def loader() -> ResumableLoader:
        return loader_of(50, seed=3)  # 13 batches an epoch

    whole = loader()
    assert len(whole) == 13
    epochs = [numbers(whole) for _ in range(3)]
    stopped = loader()
    for _ in range(taken // 13):
        list(stopped)
    list(islice(stopped, taken % 13))
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    rest = [numbers(resumed), numbers(resumed)] if taken < 13 else [numbers(resumed)]
    expected = [batch for epoch in epochs for batch in epoch]
    assert [batch for epoch in rest for batch in epoch] == expected[taken : 13 * (taken // 13 + len(rest))]


class Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).extend(batch["input_ids"][:, 0].tolist())
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_lightning_sees_every_example_once_an_epoch() -> None:
    module = Recorder()
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=3, accelerator="cpu", use_distributed_sampler=False, **off)  # type: ignore[arg-type]
    trainer.fit(module, loader_of(50, seed=0))
    assert sorted(module.seen) == [0, 1, 2]
    for seen in module.seen.values():
        assert sorted(seen) == list(range(50))
    assert module.seen[0] != module.seen[1] != module.seen[2]


def test_batches_that_run_out_of_memory_are_halved_and_so_are_later_ones(caplog: pytest.LogCaptureFixture) -> None:
    lengths = [10] * 8 + [9] * 8 + [1] * 8
    asked: list[int] = []

    def work(places: list[int]) -> list[int]:
        asked.append(len(places))
        if sum(lengths[place] for place in places) > 36:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [lengths[place] for place in places]

    done = list(worked(lengths, batch_size=8, batch_tokens=80, work=work))
    assert sorted(place for places, _ in done for place in places) == list(range(24))
    assert all(made == [lengths[place] for place in places] for places, made in done)
    assert asked == [8, 4, 2, 2, 2, 2, 4, 4, 8]
    assert [record.message for record in caplog.records] == [
        "out of memory with 8 examples of 80 tokens together: halved",
        "out of memory with 4 examples of 40 tokens together: halved",
    ]


def test_one_example_that_runs_out_of_memory_is_bad_input() -> None:
    def work(places: list[int]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match="single example of 7 tokens"):
        list(worked([7, 7, 7], 2, 100, work))
