"""The adapter folder: weights in PEFT's layout, tokenizer, the recipe to be the same system, MLflow's MLmodel."""

from pathlib import Path

from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import TrainConfig
from wikillama.model import adapters
from wikillama.model.base import Base
from wikillama.model.recipe import Recipe
from wikillama.tracking.pyfunc import describe


def export(cfg: TrainConfig, base: Base, model: PeftModel | LlamaForCausalLM, folder: Path) -> Path:
    """Write what was trained, and all that is needed to load it again, to `folder`."""
    adapters.save(model, folder)
    base.tokenizer.save_pretrained(folder)
    Recipe(
        model=cfg.model,
        base_id=base.id,
        base_weights_hash=base.weights_hash,
        dtype=str(base.dtype).removeprefix("torch."),
        quantization=cfg.quantization,
        peft=cfg.peft,
        knowledge=cfg.knowledge,
        prompt=cfg.prompt,
        max_length=cfg.data.max_length,
        max_new_tokens=cfg.evaluation.max_new_tokens,
    ).write(folder)
    describe(folder)
    return folder
