"""The peers that train_step.py measures this project against, used as their documentation says.

Each imports what it needs when it is made: what is not installed fails there, and unsloth wants to come before
transformers.
"""

import os
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train_step_parts.failures import breaks_device
from train_step_parts.timing import (
    ALPHA_PER_RANK,
    KEEP,
    OFFLOAD,
    RECOMPUTE,
    Job,
    Place,
    autocast,
    checkpoint,
    peak_gb,
    reset_peak,
    timed,
    unpacked,
    wait,
)
from train_step_parts.work import Work, dialogues, packed, row_of
from wikillama.data.batching import Batch

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TRL_BATCH = 16


class Peft:
    """transformers and PEFT as PEFT's guide to quantized training puts them together, under autocast.

    It cannot pack without another attention: rows that are full stand for packed ones, which flatters it.
    """

    def __init__(self, place: Place) -> None:
        from peft import get_peft_model, prepare_model_for_kbit_training

        self.place = place
        model = prepare_model_for_kbit_training(load_base(place), use_gradient_checkpointing=False)
        self.llama, self.model = model, get_peft_model(model, lora(place.rank)).train()

    def turn(self, job: Job) -> dict[str, Any]:
        checkpoint(self.llama, job.checkpointing)

        def step(batch: Batch) -> Tensor:
            with autocast(self.place.device):
                loss: Tensor = self.model(**batch).loss
            return loss

        works = (unpacked(job.setting, seed, self.place) for seed in job.seeds)
        return timed(step, self.model, works, job, self.place.device)


class Unsloth:
    """unsloth: full rows in the place of packed ones, since it compiles layers for those; ragged ones padding-free.

    Its trainer lays ragged batches end to end and tells the model their lengths (unsloth/utils/packing.py); so here.
    """

    def __init__(self, place: Place, checkpointing: str) -> None:
        os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
        from unsloth import FastLanguageModel  # type: ignore[import-not-found]

        self.place = place
        model, _ = FastLanguageModel.from_pretrained(
            str(place.folder), max_seq_length=2048, dtype=torch.bfloat16, load_in_4bit=True, local_files_only=True
        )
        self.model = FastLanguageModel.get_peft_model(
            model, r=place.rank, lora_alpha=ALPHA_PER_RANK * place.rank, lora_dropout=0, bias="none",
            target_modules=LINEAR, random_state=0,
            use_gradient_checkpointing={KEEP: False, RECOMPUTE: True, OFFLOAD: "unsloth"}[checkpointing],
        )  # fmt: skip
        self.model.train()

    def turn(self, job: Job) -> dict[str, Any]:
        if row_of(job.setting) is not None:
            return self._measured(job, (unpacked(job.setting, seed, self.place) for seed in job.seeds))
        try:
            return self._measured(job, (self._padding_free(seed, job) for seed in job.seeds))
        except Exception as error:  # it depends on the attention that unsloth finds here
            if isinstance(error, torch.OutOfMemoryError) or breaks_device(error):
                raise
            print(f"padding-free batches failed ({type(error).__name__}: {error}); padded ones instead")
            return self._measured(job, (unpacked(job.setting, seed, self.place) for seed in job.seeds))

    def _padding_free(self, seed: int, job: Job) -> Work:
        work = packed(dialogues(job.setting, seed, self.place.vocabulary, self.place.examples))
        batch = {name: work.batch[name] for name in ("input_ids", "labels", "position_ids")}
        batch["packed_seq_lengths"] = work.batch["cu_seq_lens"].diff()
        return Work(batch, work.tokens, work.real, "padding-free")

    def _measured(self, job: Job, works: Iterable[Work]) -> dict[str, Any]:
        def step(batch: Batch) -> Tensor:
            with autocast(self.place.device):
                loss: Tensor = self.model(**batch).loss
            return loss

        return timed(step, self.model, works, job, self.place.device)


class Trl:
    """TRL's SFTTrainer as it comes, batch 16, by its own loop: a step lasts from one step's end to the next one's."""

    def __init__(self, place: Place) -> None:
        import trl  # type: ignore[import-not-found]

        self.place, self.base, self.sft = place, load_base(place), trl
        self.trainer: Any = None
        self.clock: Any = None
        self.counts: list[tuple[int, int]] = []

    def turn(self, job: Job) -> dict[str, Any]:
        total = job.warmup + job.steps
        if self.trainer is None:
            self.trainer = self._built(total)
        self.clock.warmup, self.clock.marks = job.warmup, []
        self.counts.clear()
        self.trainer.args.max_steps = total
        self.trainer.train()
        seconds = [end - start for start, end in pairwise(self.clock.marks)][job.warmup - 1 :]
        counted = self.counts[job.warmup : total]
        return {
            "seconds": seconds,
            "tokens": [tokens for tokens, _ in counted],
            "real": [real for _, real in counted],
            "peak_gb": peak_gb(self.place.device),
            "first_loss": None,  # it draws its own batches
            "how": f"padded, batch {TRL_BATCH}",
        }

    def _built(self, total: int) -> Any:
        from datasets import Dataset
        from transformers import AutoTokenizer, TrainerCallback

        place, device = self.place, self.place.device

        class Clock(TrainerCallback):
            warmup = 1
            marks: list[float] = []  # noqa: RUF012 (replaced at each turn)

            def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                wait(device)
                self.marks.append(time.perf_counter())
                if len(self.marks) == self.warmup:
                    reset_peak(device)

        made = [e for seed in range(2 * total) for e in dialogues("ragged", seed, place.vocabulary, TRL_BATCH)]
        self.clock = Clock()
        trainer = self.sft.SFTTrainer(
            model=self.base,
            args=self.sft.SFTConfig(
                output_dir=str(Path.cwd() / "trl"), per_device_train_batch_size=TRL_BATCH, max_steps=total,
                report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=device.type == "cpu",
            ),
            train_dataset=Dataset.from_dict({"input_ids": [e.input_ids for e in made]}),
            processing_class=AutoTokenizer.from_pretrained(str(place.folder)),
            peft_config=lora(place.rank),
            callbacks=[self.clock],
        )  # fmt: skip
        collate = trainer.data_collator

        def counting(examples: Any) -> Any:
            batch = collate(examples)
            self.counts.append((batch["input_ids"].numel(), int(batch["attention_mask"].sum())))
            return batch

        trainer.data_collator = counting
        return trainer


def load_base(place: Place) -> Any:
    """The base as transformers loads it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=place.dtype,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        str(place.folder), quantization_config=quantization, dtype=place.dtype, device_map={"": place.device}
    )
    model.config.use_cache = False
    return model


def lora(rank: int) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=ALPHA_PER_RANK * rank, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=LINEAR,
    )  # fmt: skip
