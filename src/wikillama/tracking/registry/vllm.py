"""How vLLM serves an adapter, and which adapters it cannot serve.

What it takes stands in vllm-project/vllm: `vllm/lora/peft_helper.py`, `vllm/lora/lora_model.py`, `vllm/config/lora.py`.
"""

import shlex
from collections.abc import Mapping
from typing import Any

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that --max-lora-rank takes


def serve_command(config: Mapping[str, Any], base: str, folder: str, name: str) -> str:
    """The command that serves an adapter by its name. `config` is its adapter_config.json, `base` an id or a folder."""
    rank = next((rank for rank in _RANKS if rank >= config["r"]), config["r"])
    module = shlex.quote(f"{name}={folder}")
    return f"vllm serve {shlex.quote(base)} --enable-lora --max-lora-rank {rank} --lora-modules {module}"


def obstacles(config: Mapping[str, Any]) -> list[str]:
    """Why vLLM would refuse an adapter or compute something else with it; empty where it serves it as it is."""
    found = []
    if config["r"] > _RANKS[-1]:
        found.append(f"rank {config['r']} is over its highest, {_RANKS[-1]}")
    if config.get("use_dora"):
        found.append("it has no DoRA")
    if config.get("modules_to_save") or config.get("trainable_token_indices"):
        found.append("it takes no whole modules (modules_to_save, trainable_token_indices)")
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        found.append("it takes no biases")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        found.append("it scales all modules alike, whatever rank_pattern and alpha_pattern say")
    return found
