"""Opens the page or the terminal, on systems that load while one is already typing."""

from threading import Thread

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from wikillama.chat.answering import Answering
from wikillama.chat.knowledge import Knowledge, Mode
from wikillama.chat.systems import Systems
from wikillama.chat.terminal import Terminal
from wikillama.config.chat import BASE, ChatConfig
from wikillama.data.retrieval.on_demand import for_corpus
from wikillama.errors import InputError
from wikillama.generation.decoding import Sampling
from wikillama.jobs.console import console, quiet_libraries
from wikillama.jobs.index import open_with_bars
from wikillama.tracking.registry.versions import versions_of
from wikillama.tracking.remote import hurried
from wikillama.tracking.reply_traces import ReplyTraces
from wikillama.tracking.run import open_client


def chat(cfg: ChatConfig) -> None:
    """Talk until the user leaves. Raises InputError for systems that are not there, and a port in use."""
    quiet_libraries()
    with hurried():  # a store that is away must not hold up a conversation
        _talk(cfg)


def _talk(cfg: ChatConfig) -> None:
    mode: Mode = "off" if cfg.knowledge.mode == "none" else "retrieved"
    systems = Systems(cfg)
    traces = ReplyTraces(cfg.tracking) if cfg.record else None
    knowledge = Knowledge(lambda: open_with_bars(for_corpus(cfg.retriever, cfg.data), cfg.cache_dir), cfg.knowledge.k)
    if mode == "retrieved":
        Thread(target=_open_index, args=(knowledge,), daemon=True).start()
    sampling = Sampling(cfg.temperature, cfg.top_p, cfg.seed)
    answering = Answering(systems, knowledge, traces, cfg.max_new_tokens, sampling)
    try:
        if cfg.ui == "terminal":
            _load(systems, cfg)
            Terminal(answering, console, cfg.systems, mode, cfg.user).talk()
        else:
            from wikillama.jobs.chat_page import listening, serve_page  # gradio takes seconds, which a terminal spares

            with listening(cfg.host, cfg.port) as bound:
                _load(systems, cfg)
                serve_page(cfg, bound, answering, lambda: names(cfg), mode)
    finally:
        systems.turns.close()


def _load(systems: Systems, cfg: ChatConfig) -> None:
    for name in cfg.systems:
        systems.load(name)


def _open_index(knowledge: Knowledge) -> None:
    """Have the index ready by the first question; who asks it hears again of what is wrong with it."""
    try:
        knowledge.index()
    except InputError as error:
        console.print(f"no knowledge  {error}", soft_wrap=True, markup=False)


def names(cfg: ChatConfig) -> dict[str, str]:
    """What may be talked to, by name, and how a list shows it: what was asked for, registered versions, the base."""
    found = {name: name for name in cfg.systems}
    for uri, label, aliases in _registered(cfg):
        same = [each for each in (uri, *aliases) if each in found]
        found[same[0] if same else uri] = label
    quantization = "" if cfg.quantization.type == "none" else f" {cfg.quantization.type}"
    found[BASE] = f"{BASE} ({cfg.model.name}{quantization}, no adapter)"
    return found


def _registered(cfg: ChatConfig) -> list[tuple[str, str, list[str]]]:
    """The URI of each version, its label, and the URIs of its aliases."""
    if cfg.tracking.register_as is None:
        return []
    name = cfg.tracking.register_as
    try:
        client: MlflowClient = open_client(cfg.tracking.uri)
        versions = versions_of(client, name)
    except (InputError, MlflowException):  # none is registered, or the store is away
        return []
    return [
        (
            f"models:/{name}/{each.version}",
            " ".join([f"{name} {each.version}", *(f"@{alias}" for alias in each.aliases)]),
            [f"models:/{name}@{alias}" for alias in each.aliases],
        )
        for each in versions
    ]
