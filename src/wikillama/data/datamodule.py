"""The LightningDataModule over the whole data room."""

from collections.abc import Sequence

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from wikillama.config.schema import DataConfig, KnowledgeConfig, PackingConfig, PromptConfig, TrainerConfig
from wikillama.data.batching import Batch, Collator, PackingCollator, ResumableLoader
from wikillama.data.corpus import evenly, limit_of
from wikillama.data.encode import Encoded
from wikillama.data.packing import best_fit
from wikillama.data.prepared import Advance, EncodedExamples, Prepared, TokenizerSource, prepare
from wikillama.data.retrieval.on_demand import IndexSource


class PackedRows(Sequence[list[Encoded]]):
    """Examples as they share rows."""

    def __init__(self, examples: EncodedExamples, row_length: int) -> None:
        self.examples, self.rows = examples, best_fit(examples.lengths, row_length)

    @property
    def lengths(self) -> list[int]:
        return [sum(self.examples.lengths[place] for place in row) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> list[Encoded]:  # type: ignore[override]  # slices are not needed
        return [self.examples[place] for place in self.rows[number]]


class WowDataModule(LightningDataModule):
    """Grounded examples of train and valid, encoded, and batched by length or packed.

    `setup` makes them or finds them in the cache; before it, the module holds nothing. Raises InputError for what
    cannot be read.
    """

    train: EncodedExamples
    valid: EncodedExamples
    prepared: Prepared  # train's

    def __init__(
        self,
        data: DataConfig,
        knowledge: KnowledgeConfig,
        prompt: PromptConfig,
        packing: PackingConfig,
        tokenizer: TokenizerSource,
        trainer: TrainerConfig,
        seed: int,
        cache_dir: str,
        advance: Advance | None = None,
        index: IndexSource | None = None,
    ) -> None:
        super().__init__()
        self.data, self.knowledge, self.prompt, self.packing = data, knowledge, prompt, packing
        self.tokenizer, self.trainer_config, self.seed = tokenizer, trainer, seed
        self.cache_dir, self.advance, self.index = cache_dir, advance, index
        self._loader: ResumableLoader | None = None
        self._resumed: dict[str, int] | None = None

    def setup(self, stage: str | None = None) -> None:
        if hasattr(self, "train"):
            return
        self.prepared, self.train = self._split("train")
        _, self.valid = self._split("valid_seen")

    def _split(self, split: str) -> tuple[Prepared, EncodedExamples]:
        prepared = prepare(
            self.data,
            self.knowledge,
            self.prompt,
            split,  # type: ignore[arg-type]
            self.tokenizer,
            self.cache_dir,
            self.seed,
            self.advance,
            self.index,
        )
        places = evenly(prepared.facts.replies, limit_of(self.data, split))  # type: ignore[arg-type]
        return prepared, EncodedExamples(prepared, places)

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.load().pad_token_id
        assert isinstance(pad, int)
        return pad

    def train_dataloader(self) -> ResumableLoader:
        size = self.trainer_config.batch_size
        if self.packing.strategy == "none":
            self._loader = ResumableLoader(self.train, self.train.lengths, size, self.seed, Collator(self.pad_id))
        else:
            rows = PackedRows(self.train, self.packing.length)
            self._loader = ResumableLoader(rows, rows.lengths, size, self.seed, PackingCollator(self.pad_id))
        if self._resumed is not None:
            self._loader.load_state_dict(self._resumed)
        return self._loader

    def largest_batch(self, batch_size: int) -> Batch:
        """A micro-batch of the longest examples or rows: no other takes more memory."""
        if self.packing.strategy == "none":
            longest = sorted(range(len(self.train)), key=lambda i: -self.train.lengths[i])[:batch_size]
            return Collator(self.pad_id)([self.train[i] for i in longest])
        rows = PackedRows(self.train, self.packing.length)
        lengths = rows.lengths
        longest = sorted(range(len(rows)), key=lambda i: -lengths[i])[:batch_size]
        return PackingCollator(self.pad_id)([rows[i] for i in longest])

    def state_dict(self) -> dict[str, int]:
        return self._loader.state_dict() if self._loader is not None else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resumed = state or None  # the loader is made after this

    def val_dataloader(self) -> DataLoader[Encoded]:
        order = sorted(range(len(self.valid)), key=lambda i: self.valid.lengths[i])
        by_length = [self.valid[i] for i in order]
        return DataLoader(by_length, self.trainer_config.eval_batch_size, collate_fn=Collator(self.pad_id))  # type: ignore[arg-type]
