"""The servers that are measured: started, watched and ended."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil

from bench import database
from bench.client import FOLDER, NotRun, program
from bench.database import Cluster
from bench.scenarios import OURS, Table
from bench.tokens import ISSUER

ROOT = FOLDER.parent
FASTIFY = FOLDER / "peers" / "fastify"
NGINX = ROOT / "deploy" / "nginx" / "nginx.conf.template"
START_SECONDS = 60
STOP_SECONDS = 15
# Helper processes are smaller than any worker.
WORKER_MB = 20


@dataclass(frozen=True)
class Server:
    """A server that is ready for requests."""

    url: str
    process: psutil.Popen

    def memory(self) -> dict[int, float]:
        """Resident megabytes of each worker by its process id."""
        sizes = {}
        for child in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                sizes[child.pid] = child.memory_info().rss / 1e6
        return {pid: size for pid, size in sizes.items() if size > WORKER_MB}


class Servers:
    """Starts servers on filled databases; logs go to `scratch`, and what is installed to `installed`."""

    def __init__(self, cluster: Cluster, scratch: Path, installed: Path, public_key: str) -> None:
        self._cluster = cluster
        self._scratch = scratch
        self._installed = installed
        self._public_key = public_key

    def fill(self, side: str, table: Table) -> None:
        """Make the side's database anew, with the table's rows. Raises `NotRun`."""
        url = self._cluster.create(side, table)
        if side == OURS:
            _run([sys.executable, "manage.py", "migrate", "--noinput"], self._environment(url), ROOT)
        else:
            database.query(url, (FASTIFY / "schema.sql").read_text())
        database.fill(url, side, table)

    def serving(self, side: str, table: Table) -> AbstractContextManager[Server]:
        """The side's server, until the block ends. Raises `NotRun`."""
        ours: list[str | Path] = [sys.executable, "manage.py", "serve"]
        command = ours if side == OURS else [program("node"), self._install_fastify() / "server.js"]
        port = _free_port()
        environment = self._environment(self._cluster.url_of(side, table)) | {"PORT": str(port)} | dict(table.settings)
        return self._running(command, environment, port)

    @contextmanager
    def nginx(self, behind: Server) -> Iterator[Server]:
        """The compose stack's nginx in front of a server, with room for one address to send all. Raises `NotRun`."""
        port, folder = _free_port(), self._scratch / "nginx"
        folder.mkdir(exist_ok=True)
        command = nginx_command(folder, port, urlsplit(behind.url).netloc)
        with self._running(command, os.environ, port) as server:
            yield server

    def _environment(self, database_url: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "NODE_ENV": "production",
            "DATABASE_URL": database_url,
            "HOST": "127.0.0.1",
            "WORKERS": "2",
            "LOG_REQUESTS": "false",  # the peer has no log either
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "127.0.0.1",
            "JWT_ISSUER": ISSUER,
            "JWT_ALGORITHMS": "RS256",
            "JWT_PUBLIC_KEY": self._public_key,
        }

    def _install_fastify(self) -> Path:
        """The folder that the peer runs in, with its locked packages."""
        folder = self._installed / "fastify"
        lock = folder / "package-lock.json"
        old = lock.read_bytes() if lock.exists() else b""
        shutil.copytree(FASTIFY, folder, dirs_exist_ok=True)
        if lock.read_bytes() != old:
            _run([program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"], os.environ, folder)
        return folder

    @contextmanager
    def _running(self, command: Sequence[str | Path], environment: Mapping[str, str], port: int) -> Iterator[Server]:
        log = self._scratch / f"{Path(command[0]).name}-{port}.log"
        with log.open("wb") as output:
            process = psutil.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
        server = Server(f"http://127.0.0.1:{port}", process)
        try:
            _wait_until_ready(server, log)
            yield server
        finally:
            _end(process)


def nginx_command(folder: Path, port: int, upstream: str) -> list[str | Path]:
    """Runs the compose stack's nginx, without TLS, and with room for one address to send all. Raises `NotRun`."""
    given = {"LISTEN_HTTP": f"127.0.0.1:{port}", "UPSTREAM": upstream, "REQUESTS_PER_SECOND": "100000"}
    text = re.sub(r"^.*(LISTEN_HTTPS|TLS_CERTIFICATE).*$", "", NGINX.read_text(), flags=re.MULTILINE)
    (folder / "nginx.conf").write_text(re.sub(r"\$\{([A-Z_]+)\}", lambda name: given.get(name[1], "0"), text))
    user = " user root;" if os.getuid() == 0 else ""
    return [program("nginx"), "-p", f"{folder}/", "-c", f"{folder}/nginx.conf", "-g", f"daemon off;{user}"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _run(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> None:
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotRun(f"{' '.join(map(str, command[:3]))} failed: {_last_line(done.stderr)}")


def _wait_until_ready(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{server.url}/readyz", timeout=5).status_code < 500:
                return
        time.sleep(0.1)
    raise NotRun(f"{log.stem} did not start: {_last_line(log.read_text(errors='replace'))}")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _end(process: psutil.Popen) -> None:
    """Ask the server to stop, then end what is left of it."""
    family = process.children(recursive=True) if process.poll() is None else []
    process.terminate()
    _, left = psutil.wait_procs([process, *family], STOP_SECONDS)
    for survivor in left:
        survivor.kill()
