"""How much GPU memory a training step will take, before anything is loaded.

Counts what PyTorch's allocator counts, tensor by tensor for the fused step; for the reference step activations are
scaled by a measured factor. The CUDA context (some 0.5 GB) is outside of it.
"""

from dataclasses import dataclass
from functools import cache

from wikillama.config.schema import Architecture, ModelConfig, OptimConfig, PeftConfig, QuantizationConfig
from wikillama.model.adapters import count_trainable
from wikillama.model.kernels.choose import Recomputation

HEAD_SLICE = 2048  # tokens whose logits exist at once, see `kernels.head`
REFERENCE_FACTOR = 2.0  # activations of plain transformers and PEFT to those of the fused step; Llama-2-7B, H200
ON_DEVICE = 3  # inputs of layers that have not left for the host yet, or are back already
WORKSPACE = 70e6  # cuBLAS and cuBLASLt on Hopper
ASKING_SHARE = 0.85  # of a budget: libraries' copies and what is left of training have the rest
_BF16 = 2


@dataclass(frozen=True, slots=True)
class Forecast:
    """Peak memory of a step in bytes, by what it is for."""

    weights: float
    adapters: float  # parameters, gradients, optimizer states
    activations: float  # kept until the backward pass
    transient: float  # of the layer at work, the head, and unpacked weights

    @property
    def total(self) -> float:
        return self.weights + self.adapters + self.activations + self.transient

    @property
    def gb(self) -> float:
        """In GB of 10^9 bytes."""
        return self.total / 1e9


def forecast(
    model: ModelConfig,
    quantization: QuantizationConfig,
    peft: PeftConfig,
    optim: OptimConfig,
    tokens: int,
    recomputation: Recomputation,
    fused: bool,
    accumulates: bool = False,
) -> Forecast:
    """The peak of a step whose largest micro-batch has `tokens` tokens, all of them targets at worst."""
    shape = model.architecture
    trained = _trained(model.model_dump_json(), peft.model_dump_json())
    layers = shape.num_hidden_layers
    kept = layers if recomputation.kept is None else recomputation.kept
    wide = tokens * _layer_bytes(shape) * (1.0 if fused else REFERENCE_FACTOR)
    hidden = tokens * _BF16 * shape.hidden_size
    backward = hidden + tokens * _BF16 * shape.intermediate_size
    sliced = min(tokens, HEAD_SLICE) if fused else tokens
    logits = sliced * (_BF16 + (0 if fused else 8)) * shape.vocab_size
    head = 2 * hidden + logits + 4 * sliced * _BF16 * shape.hidden_size
    waiting = min(layers - kept, ON_DEVICE) if recomputation.offload else layers - kept
    begins = kept * wide + waiting * hidden
    moments = [  # share of the gradients that are there, activations that are kept, what the layer at work adds
        (0.0, begins, head),
        (0.0, begins, backward + (0 if kept else wide)),
    ]
    if kept == layers:
        moments.append((1.0, wide, backward))  # at the first layer, the last one that is differentiated
    else:
        moments.append((kept / layers, waiting * hidden, backward + wide))  # at the last of those computed again
        moments.append((1.0, (ON_DEVICE if recomputation.offload else 1) * hidden, backward + wide))  # at the first
    if accumulates:
        moments = [(1.0, activations, transient) for _, activations, transient in moments]
    gradients = 4.0 * trained
    share, activations, transient = max(moments, key=lambda moment: moment[0] * gradients + moment[1] + moment[2])
    copies = _copies(shape, peft, trained) if fused else 0
    return Forecast(
        weights=weights_bytes(shape, quantization),
        adapters=trained * (4 + _state_bytes(optim)) + share * gradients + copies,
        activations=activations,
        transient=transient + _unpacked(shape, fused) + WORKSPACE,
    )


def asking_tokens(model: ModelConfig, quantization: QuantizationConfig, peft: PeftConfig, gb: float) -> int:
    """How many tokens, padding and replies included, can be asked together within so many GB.

    Each takes its keys and values in all layers, and what the layer at work makes of it.
    """
    shape = model.architecture
    size = shape.hidden_size // shape.num_attention_heads
    keys_values = 2 * _BF16 * shape.num_hidden_layers * shape.num_key_value_heads * size
    at_work = _BF16 * (4 * shape.intermediate_size + 8 * shape.hidden_size)
    adapters = 4 * _trained(model.model_dump_json(), peft.model_dump_json())
    left = ASKING_SHARE * gb * 1e9 - weights_bytes(shape, quantization) - adapters - WORKSPACE
    return max(0, int(left / (keys_values + at_work)))


@cache
def _trained(model: str, peft: str) -> int:
    """Counting builds the model's shape, which takes a second; plans ask many times."""
    return count_trainable(ModelConfig.model_validate_json(model), PeftConfig.model_validate_json(peft))


def weights_bytes(shape: Architecture, quantization: QuantizationConfig) -> float:
    """The frozen base: embeddings, head and norms in bfloat16, linear layers as they are quantized."""
    d, f, n = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    size = d // shape.num_attention_heads
    linear = n * (d * size * (2 * shape.num_attention_heads + 2 * shape.num_key_value_heads) + 3 * d * f)
    other = shape.vocab_size * d * (1 if shape.tie_word_embeddings else 2) + (2 * n + 1) * d
    scale = (1 + 4 / 256) / 64 if quantization.double_quant else 4 / 64
    each = {"none": 2.0, "int8": 1.0, "nf4": 0.5 + scale, "fp4": 0.5 + scale}[quantization.type]
    return linear * each + other * _BF16


def _layer_bytes(shape: Architecture) -> float:
    """What a fused layer keeps for each token: its input, queries, keys and values, attention, middle, gate and up."""
    d, size = shape.hidden_size, shape.hidden_size // shape.num_attention_heads
    qkv = size * (shape.num_attention_heads + 2 * shape.num_key_value_heads)
    return _BF16 * (3 * d + qkv + 2 * shape.intermediate_size) + 4 * shape.num_attention_heads


def _copies(shape: Architecture, peft: PeftConfig, trained: int) -> float:
    """The fused step's copies of A and B: those of parts that share an input stand in one matrix, zero between them."""
    size = shape.hidden_size // shape.num_attention_heads
    keys = size * shape.num_key_value_heads
    inner = shape.intermediate_size
    groups = ({"q_proj": shape.hidden_size, "k_proj": keys, "v_proj": keys}, {"gate_proj": inner, "up_proj": inner})
    zeros = 0
    for group in groups:
        adapted = [n for n in group if peft.target_modules == "all-linear" or n in peft.target_modules]
        zeros += peft.r * sum(sum(group.values()) - group[name] for name in adapted)
    return _BF16 * (trained + shape.num_hidden_layers * zeros)


def _unpacked(shape: Architecture, fused: bool) -> float:
    """The buffer for unpacked weights: gate and up together in the fused step, one of them in the reference step."""
    return _BF16 * shape.hidden_size * shape.intermediate_size * (2 if fused else 1)


def _state_bytes(optim: OptimConfig) -> int:
    """Optimizer states on the device for each trained parameter; paged ones can leave it."""
    return {"adamw": 8, "adamw_8bit": 2, "paged_adamw_32bit": 0, "paged_adamw_8bit": 0}[optim.name]
