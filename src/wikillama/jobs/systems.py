"""The systems that a job compares: the base of its configuration, and adapters by URI."""

from peft import PeftModel
from transformers import LlamaForCausalLM

from wikillama.config.schema import EvaluateConfig
from wikillama.evaluation.system import System, fingerprint
from wikillama.model.base import base_weights_hash, device_of, load_base, load_tokenizer_only, resolve_dtype
from wikillama.tracking.loading import find_adapter, load_adapter

BASE = "base"
_MB = 1e6


def systems_of(cfg: EvaluateConfig) -> list[System]:
    """Each system of `cfg.systems`, loaded only when something has to be asked of it.

    An adapter brings its own base, quantization, prompt and context; the base takes the job's. Raises InputError for
    what cannot be found or would not load, before anything is asked.
    """
    return [_base(cfg) if name == BASE else _adapter(cfg, name) for name in cfg.systems]


def _base(cfg: EvaluateConfig) -> System:
    device = device_of(cfg.accelerator)
    dtype = resolve_dtype(cfg.model, device)

    def load() -> LlamaForCausalLM:
        return load_base(cfg.model, cfg.quantization, device, dtype, cfg.cache_dir).model

    return System(
        name=BASE,
        fingerprint=fingerprint(base_weights_hash(cfg.model, cfg.cache_dir), dtype, cfg.quantization),
        tokenizer=load_tokenizer_only(cfg.model, cfg.cache_dir),
        prompt=cfg.prompt,
        max_length=cfg.data.max_length,
        load=load,
        cache_dir=cfg.cache_dir,
    )


def _adapter(cfg: EvaluateConfig, uri: str) -> System:
    device = device_of(cfg.accelerator)
    folder, recipe, base_hash = find_adapter(uri, cfg.tracking.uri, device, cfg.cache_dir, cfg.strict_base)

    def load() -> PeftModel | LlamaForCausalLM:
        uri, strict = str(folder), cfg.strict_base
        return load_adapter(uri, cfg.tracking.uri, cfg.accelerator, cfg.cache_dir, strict_base=strict).model

    return System(
        name=uri,
        fingerprint=fingerprint(base_hash, recipe.torch_dtype, recipe.quantization, folder),
        tokenizer=load_tokenizer_only(recipe.model, cfg.cache_dir),
        prompt=recipe.prompt,
        max_length=recipe.max_length,
        load=load,
        cache_dir=cfg.cache_dir,
        adapter_mb=sum(file.stat().st_size for file in folder.glob("*.safetensors")) / _MB,
    )
