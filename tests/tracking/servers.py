"""A real PostgreSQL and a real MLflow server, on free ports of this machine and in folders of their own."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

# Debian keeps them out of the PATH
PROGRAMS = next(
    (folder for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
    Path(shutil.which("postgres") or "/nowhere").parent,
)
USER, PASSWORD = "wikillama-user", "s3cret/of@the store"
MISSING = None
if not (PROGRAMS / "initdb").is_file():
    MISSING = "PostgreSQL's programs are missing: apt install postgresql"
elif importlib.util.find_spec("psycopg2") is None:
    MISSING = "psycopg2 is missing: pip install psycopg2-binary"
_SECONDS = 180  # for a start, on a machine that others use as well


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres() -> Iterator[int]:
    """The port of a PostgreSQL with an empty database `mlflow`, which USER owns.

    PostgreSQL refuses to run as root: root lends it another user, and a folder of its own outside root's.
    """
    folder = Path(tempfile.mkdtemp(prefix="wikillama-postgres-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        name = "postgres" if subprocess.run(["id", "postgres"], capture_output=True).returncode == 0 else "nobody"
        prefix = ["setpriv", f"--reuid={name}", "--clear-groups", "--pdeathsig=INT"]
        shutil.chown(folder, name)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)  # the folder lets nobody else in
    made = [
        *prefix, str(PROGRAMS / "initdb"), "-D", str(folder / "data"), "-U", USER, "--pwfile", str(secret),
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
    ]  # fmt: skip
    port = free_port()
    command = [
        *prefix, str(PROGRAMS / "postgres"), "-D", str(folder / "data"), "-p", str(port),
        "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
    ]  # fmt: skip
    process = None
    try:
        subprocess.run(made, cwd="/", check=True, capture_output=True)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)
        _wait(lambda: _database_made(port), process, folder / "log")
        yield port
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # ends at once, in order
            process.wait(timeout=60)
        shutil.rmtree(folder)


def _database_made(port: int) -> bool:
    import psycopg2

    try:
        connection = psycopg2.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres")
    except psycopg2.OperationalError:
        return False
    connection.autocommit = True  # a database cannot be made in a transaction
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE mlflow")
    connection.close()
    return True


class Server:
    """`mlflow server` with its artifacts behind it; it can be stopped, and started again in the same place."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", backend, "--artifacts-destination", str(folder / "artifacts"),
        ]  # fmt: skip

    def start(self) -> "Server":
        # its runner of background jobs is seven more processes
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.log.parent, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        _wait(self.answers, self._process, self.log)
        return self

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """At once, as in a power cut."""
        if self._process is not None:
            workers = psutil.Process(self._process.pid).children(recursive=True)
            for worker in workers:
                worker.kill()
            self._process.wait(timeout=60)  # it ends when its workers have, and leaves none of them behind
        self._process = None


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


class Relay:
    """A port before a server's, which can be shut and opened again: the server is away, and back at once."""

    def __init__(self, port: int) -> None:
        self._behind, self.port = port, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.heard = b""  # all that clients said
        self.left: int | None = None  # pieces of what clients say that go through before it shuts; None: no end
        self._sockets: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        door = socket.create_server(("127.0.0.1", self.port))
        self._sockets = [door]
        threading.Thread(target=self._accept, args=(door,), daemon=True).start()

    def shut(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
            each.close()

    def _accept(self, door: socket.socket) -> None:
        with suppress(OSError):  # shut
            while True:
                client, _ = door.accept()
                server = socket.create_connection(("127.0.0.1", self._behind))
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(*pair, client), daemon=True).start()

    def _pass_on(self, giver: socket.socket, taker: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := giver.recv(65_536):
                if giver is client:
                    self.heard += piece
                    if self.left is not None:
                        self.left -= 1
                    if self.left is not None and self.left < 0:
                        self.shut()
                taker.sendall(piece)
        with suppress(OSError):
            taker.shutdown(socket.SHUT_WR)
