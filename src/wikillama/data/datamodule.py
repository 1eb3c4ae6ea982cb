"""The LightningDataModule over the whole data room."""

import hashlib

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from wikillama.config.schema import DataConfig, KnowledgeConfig, PromptConfig, TrainerConfig
from wikillama.data.batching import Collator, ResumableLoader
from wikillama.data.corpus import load_examples
from wikillama.data.dialogue import Example
from wikillama.data.encode import Encoded, encode_all


class WowDataModule(LightningDataModule):
    """Grounded examples of train and valid, encoded and batched by length.

    `setup` reads and encodes; before it, the module holds nothing. Raises InputError for what cannot be read.
    """

    def __init__(
        self,
        data: DataConfig,
        knowledge: KnowledgeConfig,
        prompt: PromptConfig,
        tokenizer: PreTrainedTokenizerBase,
        trainer: TrainerConfig,
        seed: int,
        progress: bool = False,
    ) -> None:
        super().__init__()
        self.data, self.knowledge, self.prompt = data, knowledge, prompt
        self.tokenizer, self.trainer_config, self.seed, self.progress = tokenizer, trainer, seed, progress
        self.train: list[Encoded] = []
        self.valid: list[Encoded] = []
        self.fingerprint = ""
        self._loader: ResumableLoader | None = None
        self._resumed: dict[str, int] | None = None

    def setup(self, stage: str | None = None) -> None:
        if self.train:
            return
        splits = {s: load_examples(self.data, self.knowledge, s) for s in ("train", "valid_seen")}  # type: ignore[arg-type]
        bars = ("encode train", "encode valid") if self.progress else (None, None)
        self.train, self.valid = (
            encode_all(found, self.prompt, self.tokenizer, self.data.max_length, progress=bar)
            for found, bar in zip(splits.values(), bars, strict=True)
        )
        self.fingerprint = fingerprint(splits["train"])

    @property
    def collator(self) -> Collator:
        pad = self.tokenizer.pad_token_id
        assert isinstance(pad, int)
        return Collator(pad)

    def train_dataloader(self) -> ResumableLoader:
        self._loader = ResumableLoader(self.train, self.trainer_config.batch_size, self.seed, self.collator)
        if self._resumed is not None:
            self._loader.load_state_dict(self._resumed)
        return self._loader

    def state_dict(self) -> dict[str, int]:
        return self._loader.state_dict() if self._loader is not None else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resumed = state or None  # the loader is made after this

    def val_dataloader(self) -> DataLoader[Encoded]:
        by_length = sorted(self.valid, key=lambda e: len(e.input_ids))
        return DataLoader(by_length, self.trainer_config.eval_batch_size, collate_fn=self.collator)  # type: ignore[arg-type]


def fingerprint(examples: list[Example]) -> str:
    """sha256 over everything that the model sees of the examples, in order: two runs on the same data agree on it."""
    digest = hashlib.sha256()
    for e in examples:
        digest.update(repr((e.history, e.knowledge, e.response, e.topic, e.persona)).encode())
    return digest.hexdigest()
