"""Serves the page and OpenAI's clients on one port."""

import socket
import webbrowser
from collections.abc import Callable
from threading import Timer

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from wikillama.chat.actions import Actions
from wikillama.chat.answering import Answering
from wikillama.chat.knowledge import Mode
from wikillama.chat.page import STYLE, create_page, theme
from wikillama.chat.serving import create_app
from wikillama.config.chat import ChatConfig
from wikillama.errors import InputError
from wikillama.jobs.console import console

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_UPLOADS = 1  # bytes: the page takes no files


def serve_page(cfg: ChatConfig, answering: Answering, systems: Callable[[], dict[str, str]], mode: Mode) -> None:
    """Serve until interrupted; `systems` lists what may be talked to. Raises InputError for a port in use."""
    bound = _bound(cfg.host, cfg.port)
    port = bound.getsockname()[1]
    page = create_page(Actions(answering, systems, cfg.user), cfg.adapter, cfg.beside, mode)
    app = create_app(answering.systems.speaker(cfg.adapter), cfg.adapter)
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
