"""Batches of similar length or of packed rows, in an order that depends on seed and epoch alone and can be resumed."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from wikillama.data.encode import IGNORED, Encoded
from wikillama.errors import InputError

log = logging.getLogger(__name__)

PAD_TO = 8  # tensor cores and CPU vector units want lengths that are multiples of this
_POOL = 50  # batches sorted together; as in transformers' LengthGroupedSampler

Batch = dict[str, Tensor]
T = TypeVar("T")


class Collator:
    """Right-pads examples to a common length: `input_ids`, `attention_mask`, `labels`, each (batch, length) int64."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, examples: list[Encoded]) -> Batch:
        longest = max(len(e.input_ids) for e in examples)
        length = -(-longest // PAD_TO) * PAD_TO
        shape = (len(examples), length)
        ids, mask = torch.full(shape, self.pad_id), torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, IGNORED)
        for row, example in enumerate(examples):
            n = len(example.input_ids)
            ids[row, :n] = torch.tensor(example.input_ids)
            mask[row, :n] = 1
            labels[row, :n] = torch.tensor(example.labels)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class PackingCollator:
    """Makes a batch of packed rows.

    `input_ids`, `attention_mask`, `labels` and `position_ids`, each (rows, length) int64: positions begin at 0 with
    every example. `cu_seq_lens` (sequences + 1) int32 are the bounds of the examples in the flattened batch, as
    variable-length attention takes them; the padding behind a row's last example is a sequence of its own. An
    example's first label is always ignored, so that it is not predicted from the example before it.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[list[Encoded]]) -> Batch:
        longest = max(sum(len(e.input_ids) for e in row) for row in rows)
        length = -(-longest // PAD_TO) * PAD_TO
        shape = (len(rows), length)
        ids, mask = torch.full(shape, self.pad_id), torch.zeros(shape, dtype=torch.int64)
        labels, positions = torch.full(shape, IGNORED), torch.zeros(shape, dtype=torch.int64)
        bounds = [0]
        for number, row in enumerate(rows):
            start = 0
            for example in row:
                end = start + len(example.input_ids)
                ids[number, start:end] = torch.tensor(example.input_ids)
                labels[number, start + 1 : end] = torch.tensor(example.labels[1:])
                positions[number, start:end] = torch.arange(end - start)
                bounds.append(number * length + end)
                start = end
            mask[number, :start] = 1
            positions[number, start:] = torch.arange(length - start)
            if start < length:
                bounds.append((number + 1) * length)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "position_ids": positions,
            "cu_seq_lens": torch.tensor(bounds, dtype=torch.int32),
        }


def sequence_numbers(batch: Batch) -> Tensor:
    """Which example each token belongs to: (rows, length) int64, equal for two tokens that may see each other."""
    ids = batch["input_ids"]
    numbers = torch.zeros(ids.numel() + 1, dtype=torch.int64, device=ids.device)
    numbers[batch["cu_seq_lens"].long()] = 1
    return numbers.cumsum(0)[:-1].view(ids.shape)


def batches_within(lengths: Sequence[int], batch_size: int, batch_tokens: int) -> list[list[int]]:
    """Places in batches, longest first: at most `batch_size` each, and `batch_tokens` tokens with padding.

    A single example that is longer than that is a batch of its own.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        last = batches[-1] if batches else []
        if not last or len(last) == batch_size or (len(last) + 1) * lengths[last[0]] > batch_tokens:
            batches.append([])
        batches[-1].append(place)
    return batches


def worked(
    lengths: Sequence[int], batch_size: int, batch_tokens: int, work: Callable[[list[int]], T]
) -> Iterator[tuple[list[int], T]]:
    """Batches as of `batches_within`, each with what `work` made of it.

    A batch for which the device's memory does not suffice is halved, and so are later ones as large; a line says so.
    Raises InputError where a single example is too large.
    """
    waiting, too_many = deque(batches_within(lengths, batch_size, batch_tokens)), math.inf
    while waiting:
        places = waiting.popleft()
        tokens = len(places) * max(lengths[place] for place in places)
        if tokens >= too_many and len(places) > 1:
            half = len(places) // 2
            waiting.extendleft((places[half:], places[:half]))
            continue
        try:
            made = work(places)
        except torch.OutOfMemoryError as error:
            reason = error.with_traceback(None)  # the frames hold the tensors
        else:
            yield places, made
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(places) == 1:
            raise InputError(
                f"out of memory with a single example of {tokens} tokens: lower data.max_length"
            ) from reason
        log.warning("out of memory with %d examples of %d tokens together: halved", len(places), tokens)
        waiting.appendleft(places)
        too_many = tokens


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of indices: shuffled, sorted by length within pools of `_POOL` batches, and shuffled as batches.

    Every rank of a distributed run takes its own share, and all ranks take the same number of batches.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if distributed else 0
        self.ranks = torch.distributed.get_world_size() if distributed else 1

    def batches(self) -> list[list[int]]:
        """All batches of this rank's epoch, in order."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.batch_size * _POOL
        grouped = [
            i
            for start in range(0, len(order), pool)
            for i in sorted(order[start : start + pool], key=lambda i: -self.lengths[i])
        ]
        batches = [grouped[i : i + self.batch_size] for i in range(0, len(grouped), self.batch_size)]
        shuffled = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return shuffled[self.rank :: self.ranks][: len(self)]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches())

    def __len__(self) -> int:
        return max(1, -(-len(self.lengths) // self.batch_size) // self.ranks)


class ResumableLoader(DataLoader[Any]):
    """A loader whose place in the epoch can be saved, so that a resumed run sees each batch once.

    `lengths` are those of the examples or rows, in tokens. `WowDataModule` saves the place. Lightning would, too,
    but where the number of steps is asked for before training starts, as schedules do, it makes the loader before
    it has read the checkpoint, and then forgets to restore it.
    """

    def __init__(
        self,
        examples: Sequence[Any],
        lengths: list[int],
        batch_size: int,
        seed: int,
        collator: Callable[[list[Any]], Batch],
    ) -> None:
        self.order = LengthGroupedBatches(lengths, batch_size, seed)
        self.done = 0
        super().__init__(examples, batch_sampler=self.order, collate_fn=collator)  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        if self.done == len(self.order):  # here, not after the last batch: Lightning never asks for one more
            self.order.epoch += 1
            self.done = 0
        for indices in self.order.batches()[self.done :]:
            self.done += 1
            yield self.collate_fn([self.dataset[i] for i in indices])

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.order.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.order.epoch, self.done = state["epoch"], state["done"]
