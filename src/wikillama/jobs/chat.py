"""Opens the page or the terminal, on systems that load while one is already typing."""

import socket
import webbrowser
from threading import Thread, Timer

import gradio as gr
import uvicorn
from fastapi import FastAPI
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from wikillama.chat.actions import Actions
from wikillama.chat.answering import Answering
from wikillama.chat.knowledge import Knowledge, Mode
from wikillama.chat.page import STYLE, create_page, theme
from wikillama.chat.serving import create_app
from wikillama.chat.systems import Systems
from wikillama.chat.terminal import Terminal
from wikillama.config.chat import BASE, ChatConfig
from wikillama.data.retrieval.on_demand import for_corpus
from wikillama.errors import InputError
from wikillama.generation.decoding import Sampling
from wikillama.jobs.console import console, quiet_libraries
from wikillama.jobs.index import open_with_bars
from wikillama.tracking.registry.versions import versions_of
from wikillama.tracking.reply_traces import ReplyTraces
from wikillama.tracking.run import open_client

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_UPLOADS = 1  # bytes: the page takes no files


def chat(cfg: ChatConfig) -> None:
    """Talk until the user leaves. Raises InputError for systems that are not there, and a port in use."""
    quiet_libraries()
    mode: Mode = "off" if cfg.knowledge.mode == "none" else "retrieved"
    systems = Systems(cfg)
    for name in cfg.systems:
        systems.load(name)
    knowledge = Knowledge(lambda: open_with_bars(for_corpus(cfg.retriever, cfg.data), cfg.cache_dir), cfg.knowledge.k)
    if mode == "retrieved":
        Thread(target=_open_index, args=(knowledge,), daemon=True).start()
    answering = Answering(
        systems,
        knowledge,
        ReplyTraces(cfg.tracking) if cfg.record else None,
        cfg.max_new_tokens,
        Sampling(cfg.temperature, cfg.top_p, cfg.seed),
    )
    if cfg.ui == "terminal":
        Terminal(answering, console, cfg.systems, mode, cfg.user).talk()
        return
    _serve(cfg, systems, Actions(answering, lambda: names(cfg), cfg.user), mode)


def _open_index(knowledge: Knowledge) -> None:
    """Have the index ready by the first question; who asks it hears again of what is wrong with it."""
    try:
        knowledge.index()
    except InputError as error:
        console.print(f"no knowledge  {error}", soft_wrap=True, markup=False)


def names(cfg: ChatConfig) -> dict[str, str]:
    """What may be talked to, by name, and how a list shows it: what was asked for, registered versions, the base."""
    found = {name: name for name in cfg.systems}
    for uri, label in _registered(cfg):
        found.setdefault(uri, label)
    quantization = "" if cfg.quantization.type == "none" else f" {cfg.quantization.type}"
    found[BASE] = f"{BASE} ({cfg.model.name}{quantization}, no adapter)"
    return found


def _registered(cfg: ChatConfig) -> list[tuple[str, str]]:
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
        )
        for each in versions
    ]


def _serve(cfg: ChatConfig, systems: Systems, actions: Actions, mode: Mode) -> None:
    bound = _bound(cfg.host, cfg.port)
    port = bound.getsockname()[1]
    page = create_page(actions, cfg.adapter, cfg.beside, mode)
    app = create_app(systems.speaker(cfg.adapter), cfg.adapter)
    if cfg.host in _LOOPBACK:  # a page elsewhere must not reach this one under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK, "[::1]"])
    mount(app, page)
    shown = f"http://{'127.0.0.1' if cfg.host == '0.0.0.0' else cfg.host}:{port}"  # noqa: S104 (is asked, not bound)
    console.print(f"page          {shown}", soft_wrap=True)
    console.print(f"OpenAI's API  {shown}/v1", soft_wrap=True)
    console.print("Ctrl-C ends it")
    if cfg.open_browser:
        opening = Timer(1.0, webbrowser.open, [shown])
        opening.daemon = True
        opening.start()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    server.run(sockets=[bound])


def mount(app: FastAPI, page: gr.Blocks) -> None:
    """Put the page at the root of an application."""
    gr.mount_gradio_app(
        app, page, path="/", theme=theme(), css_paths=STYLE, footer_links=[], max_file_size=_UPLOADS,
        show_error=True, ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False,
    )  # fmt: skip


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises InputError where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise InputError(
            f"host={host} port={port}: cannot listen there ({error.strerror}); give another port="
        ) from error
    return bound
