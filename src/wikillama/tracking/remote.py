"""What a store behind a network asks for: patience while it is away, and credentials that nobody repeats."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from wikillama.config.paths import public, without_secrets
from wikillama.tracking.facts import shown

_RETRIES, _TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
_HURRIED = {_RETRIES: "2", _TIMEOUT: "20"}  # retries, 4 s in all; seconds that a request may take

# Waits of 4, 8, 16, ... seconds, two minutes at most, between attempts: ten retries, MLflow's limit, outlast ten
# minutes. MLflow's own seven outlast four; servers that move to another machine or version are away for longer.
_PATIENT = {_RETRIES: "10"}

_CONNECTIONS = logging.getLogger("urllib3.connectionpool")  # warns of each attempt that failed


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def ui(uri: str) -> str:
    """How one comes to the pages of a store: the address of a server, else the command that starts one."""
    return without_secrets(uri) if is_server(uri) else f"mlflow ui --backend-store-uri {shown(uri)}"


@contextmanager
def patient() -> Iterator[None]:
    """Requests within outlast a server that is away for ten minutes, unless the environment says otherwise."""
    with _environment({key: value for key, value in _PATIENT.items() if key not in os.environ}):
        yield


@contextmanager
def hurried() -> Iterator[None]:
    """Requests within give up soon, without a word on each: for a first contact, or where nobody wants to wait."""
    level = _CONNECTIONS.level
    _CONNECTIONS.setLevel(logging.ERROR)
    try:
        with _environment(_HURRIED):
            yield
    finally:
        _CONNECTIONS.setLevel(level)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """MLflow reads these variables at each request, and takes no argument in their place."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def without_credentials(uri: str) -> str:
    """The address of a server alone; a user and a password in it go where MLflow looks for them: its environment.

    MLflow repeats the address in messages, and prints it.
    """
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return uri
    name, _, password = user.partition(":")
    os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(name), unquote(password)
    return urlunsplit(parts._replace(netloc=host))


def reason_of(error: Exception, uri: str) -> str:
    """The first line of an error about a store, without the user and the password that its URI names."""
    line = without_secrets((str(error).splitlines() or [type(error).__name__])[0])
    found = re.search(r"://([^\s:/@]*)(?::(\S*))?@", uri)
    user, password = found.groups(default="") if found else ("", "")
    for secret in (f'"{user}"', f'"{unquote(user)}"', password, unquote(password)):
        line = line.replace(secret, "...") if secret.strip('"') else line
    return line


@contextmanager
def kept(adapter: Path) -> Iterator[None]:
    """Whatever fails within, a store that is lost among it, is told together with where the adapter is."""
    try:
        yield
    except Exception as error:
        folder = public(str(adapter))
        error.add_note(f"The adapter is whole, in {folder}. To register it: python registry.py import folder={folder}")
        raise
