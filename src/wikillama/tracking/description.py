"""How a run is called, and what its page in MLflow says that it is."""

from wikillama.config.schema import EvaluateConfig, PeftConfig, QuantizationConfig, Section, TrainConfig

KIND = "wikillama.kind"  # tag: train | evaluate | sweep | ..., to filter by
NOTE = "mlflow.note.content"  # tag of runs and experiments that MLflow shows as Markdown


def kind_of(config: Section) -> str:
    """The entry script that a configuration belongs to: `train`, `evaluate`, ..."""
    return type(config).__name__.removesuffix("Config").lower()


def name_of(config: Section) -> str | None:
    """A name by which a run can be told from others on the experiment's page; None where MLflow shall invent one."""
    if isinstance(config, TrainConfig):
        parts = [config.model.name, _peft(config.peft), config.quantization.type]
        if config.quantization.type == "none":
            parts.pop()
        if config.knowledge.mode != "gold":
            parts.append("no knowledge" if config.knowledge.mode == "none" else f"{config.knowledge.mode} knowledge")
        return " ".join(parts)
    if isinstance(config, EvaluateConfig):
        systems = ", ".join(system.removeprefix("models:/").removeprefix("runs:/") for system in config.systems)
        return f"{config.suite.name}, {config.knowledge.mode} knowledge: {systems}"[:120]
    return None


def about(config: Section) -> str:
    """What a run does, as a paragraph of Markdown; empty where it neither trains nor scores."""
    if isinstance(config, TrainConfig):
        limit = f", {config.data.limit_train:,} turns of it" if config.data.limit_train else ""
        return (
            f"Trains **{_trained(config.peft)}** on **{_base(config)}**, on **{config.data.name}**{limit}, with "
            f"**{config.knowledge.mode}** knowledge in the prompt; scored on {config.suite.name}."
        )
    if isinstance(config, EvaluateConfig):
        systems = ", ".join(f"`{system}`" for system in config.systems)
        return (
            f"Compares {systems} on **{config.suite.name}** with **{config.knowledge.mode}** knowledge in the prompt; "
            f"`base` is {_base(config)}."
        )
    return ""


def _base(config: TrainConfig | EvaluateConfig) -> str:
    weights = ", random weights" if config.model.weights == "random" else ""
    return f"{config.model.name} ({_quantized(config.quantization)}{weights})"


def _quantized(quantization: QuantizationConfig) -> str:
    if quantization.type == "none":
        return "not quantized"
    return quantization.type.upper() + (", double quantization" if quantization.double_quant else "")


def _trained(peft: PeftConfig) -> str:
    if peft.method == "none":
        return "all weights"
    targets = peft.target_modules if isinstance(peft.target_modules, str) else ", ".join(peft.target_modules)
    where = "all linear layers" if targets == "all-linear" else targets
    kind = "DoRA" if peft.use_dora else "rank-stabilized LoRA" if peft.use_rslora else "LoRA"
    return f"{kind} of rank {peft.r} on {where}"


def _peft(peft: PeftConfig) -> str:
    if peft.method == "none":
        return "all weights"
    variant = "dora" if peft.use_dora else "rslora" if peft.use_rslora else peft.method
    return f"{variant} r{peft.r}"
