"""Serves the page and OpenAI's clients on one port."""

import logging
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (shown, not bound)
_UPLOADS = 1  # bytes: the page takes no files


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises InputError where it cannot."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
            bound.listen()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"host={host} port={port}: cannot listen there ({reason}); give another port=") from error
        yield bound


def serve_page(
    cfg: ChatConfig, bound: socket.socket, answering: Answering, systems: Callable[[], dict[str, str]], mode: Mode
) -> None:
    """Serve until interrupted; `systems` lists what may be talked to."""
    page = create_page(Actions(answering, systems, cfg.user), cfg.adapter, cfg.beside, mode)
    app = create_app(answering.systems.speaker(cfg.adapter), cfg.adapter)
    if cfg.host in _LOOPBACK:  # a page elsewhere must not reach this one under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK, "[::1]"])
    mount(app, page)
    host = _ANY.get(cfg.host, cfg.host)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    console.print(f"page          {shown}", soft_wrap=True, markup=False)
    console.print(f"OpenAI's API  {shown}/v1", soft_wrap=True, markup=False)
    console.print("Ctrl-C ends it")
    if cfg.open_browser:
        opening = Timer(1.0, webbrowser.open, [shown])
        opening.daemon = True
        opening.start()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    # pages that are open then are cut off, which uvicorn would tell of at length
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    server.run(sockets=[bound])


def mount(app: FastAPI, page: gr.Blocks) -> None:
    """Put the page at the root of an application."""
    gr.mount_gradio_app(
        app, page, path="/", theme=theme(), css_paths=STYLE, footer_links=[], max_file_size=_UPLOADS,
        show_error=True, ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False, run_history=False,
    )  # fmt: skip
