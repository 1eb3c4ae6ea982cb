"""Base models and their quantization, tokenizers, LoRA adapters."""
