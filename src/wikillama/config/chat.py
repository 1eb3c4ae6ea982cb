"""The configuration of chat.py, and what it refuses before torch is loaded."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from wikillama.config.rules import check_data, check_model, check_retriever
from wikillama.config.schema import (
    DataConfig,
    KnowledgeConfig,
    ModelConfig,
    PromptConfig,
    QuantizationConfig,
    RetrieverConfig,
    Section,
    TrackingConfig,
)
from wikillama.errors import InputError

BASE = "base"  # the system without an adapter


class ChatConfig(Section):
    """Who talks, what it knows, and where one talks to it."""

    adapter: str  # models:/NAME@ALIAS, models:/NAME/3, runs:/ID/adapter, a folder; or `base`
    beside: str | None = None  # a second system, which answers side by side with the first
    ui: Literal["page", "terminal"] = "page"
    host: str = "127.0.0.1"
    port: int = Field(7860, ge=0, le=65535)  # 0: any free one
    open_browser: bool = True
    user: str = "anonymous"  # who labels replies
    record: bool = True  # replies and labels, as traces of tracking.experiment
    max_new_tokens: PositiveInt | None = None  # null: what the adapter was evaluated with
    temperature: float = Field(0.0, ge=0.0, le=2.0)  # 0: the likeliest token each time
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    strict_base: bool = True
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    model: ModelConfig  # what `base` is
    quantization: QuantizationConfig
    prompt: PromptConfig
    data: DataConfig  # the corpus whose passages are looked up where there is no retriever.source
    knowledge: KnowledgeConfig  # what a conversation begins with
    retriever: RetrieverConfig
    tracking: TrackingConfig
    seed: NonNegativeInt = 0  # of replies that are drawn
    cache_dir: str

    @property
    def systems(self) -> list[str]:
        """The systems that the command line names."""
        return [self.adapter] if self.beside is None else [self.adapter, self.beside]


def check_chat(cfg: ChatConfig) -> None:
    """Refuse knowledge that a conversation cannot have, and a second system that is the first. Raises InputError."""
    check_model(cfg.model)
    check_data(cfg.data, cfg.model)
    check_retriever(cfg.retriever, cfg.data)
    if cfg.knowledge.mode not in ("none", "retrieved"):
        raise InputError(
            f"knowledge={cfg.knowledge.mode}: nobody has chosen sentences for a live conversation; "
            "use knowledge=retrieved|none, and paste your own on the page or by /mine in the terminal"
        )
    if cfg.beside == cfg.adapter:
        raise InputError(f"beside={cfg.beside} is the adapter itself; name another, such as beside={BASE}")
