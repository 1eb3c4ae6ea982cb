"""First stage: the data, and the base with what is to be trained on it."""

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig
from wikillama.data.corpus import load_examples
from wikillama.data.datamodule import WowDataModule
from wikillama.data.dialogue import Example
from wikillama.data.locate import locate
from wikillama.jobs.console import StageBars, download_bar
from wikillama.jobs.index import knowledge_index
from wikillama.jobs.tokenizer import tokenizer_source
from wikillama.model import adapters
from wikillama.model.base import Base, load_base, resolve_dtype


def read_data(cfg: TrainConfig) -> tuple[WowDataModule, list[Example]]:
    """Train and valid, encoded, and the held-out turns of the suite."""
    with download_bar("corpus") as progress:
        located = locate(cfg.data, cfg.cache_dir, progress)
    index = knowledge_index(cfg, located)
    with StageBars("train, valid") as bars:
        data = WowDataModule(
            located,
            cfg.knowledge,
            cfg.prompt,
            cfg.packing,
            tokenizer_source(cfg.model, cfg.cache_dir),
            cfg.trainer,
            cfg.seed,
            cfg.cache_dir,
            advance=bars,
            index=index,
        )
        data.setup()
    assert cfg.suite.split is not None  # `config.rules.check_train` saw to it
    return data, load_examples(located, cfg.knowledge, cfg.suite.split, cfg.seed, index)


def said_of(cfg: TrainConfig, data: WowDataModule, held_out: list[Example]) -> str:
    """How much data there is, and what of it was cut or left out, in one line."""
    said = f"  train {len(data.train)} turns, valid {len(data.valid)}, held out {len(held_out)}"
    facts, cut = data.prepared.facts, data.train.cuts()
    if any(cut.values()):
        said += f"; over {cfg.data.max_length} tokens: history cut in {cut['history']}, prompt cut in {cut['prompt']}"
    if facts.bad_rows:
        said += f"; {facts.bad_rows} bad rows left out, see {data.prepared.quarantine}"
    return said


def load_model(cfg: TrainConfig, device: torch.device) -> tuple[Base, PeftModel | LlamaForCausalLM]:
    """The base, and on it what is to be trained."""
    dtype = resolve_dtype(cfg.model, device, all_weights_trained=cfg.peft.method == "none")
    base = load_base(cfg.model, cfg.quantization, device, dtype, cfg.cache_dir)
    return base, adapters.attach(base.model, cfg.peft, base.id)
