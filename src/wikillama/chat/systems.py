"""The systems that one can talk to: adapters and the base, loaded when they are first asked, on shared bases."""

import json
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from wikillama.config.chat import BASE, ChatConfig
from wikillama.config.schema import PeftConfig
from wikillama.data.dialogue import Sentence
from wikillama.data.prompt import Message
from wikillama.evaluation.system import fingerprint
from wikillama.generation.bot import Bot
from wikillama.generation.decoding import GREEDY, Sampling
from wikillama.generation.streaming import Clock, ReplyStats, ReplyStream, Turns, Writer
from wikillama.model import adapters
from wikillama.model.base import base_id, base_weights_hash, device_of, load_base, resolve_dtype
from wikillama.model.dense import dense_weights
from wikillama.model.quantization import check_backend
from wikillama.model.recipe import Recipe
from wikillama.tracking.loading import check_base, find_adapter

_BASES = 2  # that are held at once; of more, the one that was asked longest ago goes
_MAX_NEW_TOKENS = 64  # of the base, which was evaluated with no length of its own


@dataclass(frozen=True)
class _Found:
    """A system that was found and checked, and is not loaded."""

    recipe: Recipe
    base_hash: str  # of the weights that the base has here
    folder: Path | None  # of the adapter; None: the base alone

    @cached_property
    def fingerprint(self) -> str:
        """Of base, quantization and weights, as registered versions and evaluations carry it."""
        recipe = self.recipe
        return fingerprint(self.base_hash, recipe.torch_dtype, recipe.quantization, self.folder)

    @property
    def base(self) -> str:
        """Equal for systems that can share a base in memory; all weights are nobody else's base."""
        recipe = self.recipe
        alone = str(self.folder) if self.folder is not None and recipe.peft.method == "none" else None
        held = [self.base_hash, recipe.model.tokenizer, recipe.model.path, recipe.dtype]
        return json.dumps([*held, recipe.quantization.model_dump(), alone])


@dataclass
class _Shared:
    """A base in memory with the adapters that were put onto it, by folder."""

    model: PeftModel | LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    adapters: dict[Path, str] = field(default_factory=dict)
    unpacked: ExitStack = field(default_factory=ExitStack)


class Systems:
    """Speakers by name. One thread loads them and makes all their replies, in the order in which they are asked."""

    def __init__(self, cfg: ChatConfig) -> None:
        self._cfg = cfg
        self._device = device_of(cfg.accelerator)
        self._found: dict[str, _Found] = {}
        self._finding: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by name: it may download
        self._bases: OrderedDict[str, _Shared] = OrderedDict()
        self.turns = Turns()
        self.loading: str | None = None  # the system that is being loaded now

    def _find(self, name: str) -> _Found:
        """A system, without loading it. Raises InputError where it is not there or does not fit."""
        if name not in self._found:
            with self._finding[name]:
                if name not in self._found:
                    self._found[name] = self._base() if name == BASE else self._adapter(name)
        return self._found[name]

    def speaker(self, name: str) -> "Speaker":
        """Who answers as the system `name`. Raises InputError where it is not there or does not fit."""
        return Speaker(self, name, self._find(name).fingerprint)

    def load(self, name: str) -> None:
        """Begin to load a system, so that it is there when it is asked. Raises InputError as `speaker` does."""
        self._find(name)
        self.turns.queue(lambda: self._quietly(name))

    def bot(self, name: str) -> Bot:
        """The loaded system; to be called in a job of `turns`, since loading changes a base that others speak from."""
        found = self._find(name)
        shared = self._bases.get(found.base)
        if shared is None or (found.folder is not None and found.folder not in shared.adapters):
            self.loading = name
            try:
                shared = self._loaded(name, found, shared)
            except BaseException:
                self._drop(found.base)  # an adapter that failed half-way is part of the base by now
                raise
            finally:
                self.loading = None
        self._bases.move_to_end(found.base)
        adapter = None if found.folder is None else shared.adapters[found.folder]
        return Bot(shared.model, shared.tokenizer, found.recipe, adapter, self.turns)

    def _drop(self, base: str) -> None:
        shared = self._bases.pop(base, None)
        if shared is not None:
            shared.unpacked.close()

    def _quietly(self, name: str) -> None:
        with suppress(Exception):  # whoever asks it hears of it
            self.bot(name)

    def _loaded(self, name: str, found: _Found, shared: _Shared | None) -> _Shared:
        recipe, cfg = found.recipe, self._cfg
        if shared is None:
            while len(self._bases) >= _BASES:
                self._drop(next(iter(self._bases)))
            base = load_base(recipe.model, recipe.quantization, self._device, recipe.torch_dtype, cfg.cache_dir)
            if found.folder is not None:
                check_base(base.weights_hash, recipe, name, cfg.strict_base)
            shared = _Shared(base.model, base.tokenizer)
        if found.folder is not None:
            label = f"adapter_{len(shared.adapters)}"
            shared.model = adapters.load(shared.model, found.folder, label)
            shared.adapters[found.folder] = label
        shared.unpacked.enter_context(dense_weights(shared.model))
        self._bases[found.base] = shared
        return shared

    def _base(self) -> _Found:
        cfg = self._cfg
        check_backend(cfg.quantization, self._device)
        dtype = resolve_dtype(cfg.model, self._device)
        recipe = Recipe(
            model=cfg.model,
            base_id=base_id(cfg.model),
            base_weights_hash=base_weights_hash(cfg.model, cfg.cache_dir),
            dtype=str(dtype).removeprefix("torch."),
            quantization=cfg.quantization,
            peft=PeftConfig(method="none", dropout=0.0),
            knowledge=cfg.knowledge,
            prompt=cfg.prompt,
            max_length=cfg.data.max_length,
            max_new_tokens=_MAX_NEW_TOKENS,
        )
        return _Found(recipe, recipe.base_weights_hash, None)

    def _adapter(self, uri: str) -> _Found:
        cfg = self._cfg
        found = find_adapter(uri, cfg.tracking.uri, self._device, cfg.cache_dir, cfg.strict_base)
        return _Found(found.recipe, found.base_hash, found.folder)


@dataclass(frozen=True)
class Speaker:
    """A system under its name, loaded when its turn comes; speaks as `Bot` does."""

    systems: Systems
    name: str
    fingerprint: str

    def stream(
        self,
        history: Sequence[str | Message],
        knowledge: Sequence[str | Sentence] = (),
        topic: str | None = None,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling = GREEDY,
    ) -> ReplyStream:
        """The reply as `Bot.stream` gives it; what that refuses, the stream raises when it is read."""
        clock = Clock()

        def write(put: Callable[[str], bool]) -> ReplyStats:
            writer: Writer = self.systems.bot(self.name).writer(
                history, knowledge, topic, max_new_tokens=max_new_tokens, sampling=sampling, clock=clock
            )
            return writer(put)

        return ReplyStream(self.systems.turns, write)
