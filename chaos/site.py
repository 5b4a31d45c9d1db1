"""The service, its database, and what stands between: real processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx
import psutil
import psycopg

from bench.client import NotRun, program
from bench.servers import nginx_command
from hypersecureid.local import temporary
from hypersecureid.local.postgres import Postgres
from hypersecureid.local.programs import BINARIES, server_programs
from tests.tokens import ISSUER, RSA_KEY, public_pem, token

ROOT = Path(__file__).resolve().parent.parent
TOXIPROXY = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0"
USERS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(4)]
MAX_CONNECTIONS = 40
START_SECONDS = 40


def tokens() -> dict[str, str]:
    """A bearer token by user."""
    return {user: token(sub=user, exp=int(time.time()) + 3600) for user in USERS}


def environment(database_url: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "DATABASE_URL": database_url,
        "WORKERS": "2",
        "HOST": "127.0.0.1",
        "SECRET_KEY": "only for faults " * 4,
        "ALLOWED_HOSTS": "127.0.0.1",
        "JWT_ISSUER": ISSUER,
        "JWT_PUBLIC_KEY": public_pem(RSA_KEY),
        "JWT_ALGORITHMS": "RS256",
    }


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def until(seconds: float, holds: Any, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class Process:
    """A program that runs until it is stopped."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = psutil.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    def children(self) -> list[int]:
        return [child.pid for child in self.popen.children()]

    def errors(self) -> list[str]:
        """What nginx logged of failed requests."""
        return [line for line in self.log.read_text().splitlines() if "[error]" in line]

    def memory(self) -> float:
        """Resident megabytes of the process and its children."""
        return sum(each.memory_info().rss for each in [self.popen, *self.popen.children()]) / 1e6

    def stop(self) -> float:
        """SIGTERM; returns the seconds that it took to end."""
        started = time.monotonic()
        if self.popen.poll() is None:
            family = self.popen.children(recursive=True)
            self.popen.terminate()
            _, left = psutil.wait_procs([self.popen, *family], 20)
            for survivor in left:
                survivor.kill()
        return time.monotonic() - started


class Service(Process):
    """`manage.py serve`, with two workers."""

    def __init__(self, database_url: str, folder: Path, port: int | None = None) -> None:
        self.database_url, self.folder = database_url, folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [sys.executable, "manage.py", "serve"],
            environment(database_url) | {"PORT": str(self.port)},
            folder / f"service-{self.port}.log",
        )
        try:
            until(START_SECONDS, self.is_ready, "the service is ready")
        except AssertionError:
            self.stop()
            raise NotRun(f"the service did not start: {self.log.read_text()[-1500:]}") from None

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def again(self) -> Self:
        """A new one in its place, after `stop`."""
        return type(self)(self.database_url, self.folder, self.port)


@dataclass
class Site:
    """What a fault is done to; clients call `url`."""

    folder: Path
    database: Postgres
    services: list[Service]
    url: str = ""
    standby: Postgres | None = None
    nginx: Process | None = None
    toxiproxy: "Toxiproxy | None" = None
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def service(self) -> Service:
        return self.services[0]

    def execute(self, statement: str) -> list[Any]:
        return execute(self.database, statement)

    def signal_database(self, number: signal.Signals) -> None:
        """To all its processes."""
        signal_server(self.database, number)

    def kill_database(self) -> None:
        self.signal_database(signal.SIGKILL)
        self.database.stop()

    def rows(self, prefix: str) -> dict[tuple[str, str], tuple[str, int]]:
        rows = self.execute("SELECT owner_id, key, value, revision FROM userdata_storedvalue")
        return {(owner, key): (value, revision) for owner, key, value, revision in rows if key.startswith(prefix)}


def execute(database: Postgres, statement: str) -> list[Any]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def signal_server(database: Postgres, number: signal.Signals) -> None:
    server = psutil.Process(database.pid)
    for process in [server, *server.children()]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def migrate(database_url: str) -> None:
    command = [sys.executable, "manage.py", "migrate", "-v", "0"]
    subprocess.run(command, cwd=ROOT, env=environment(database_url), capture_output=True, check=True)


@contextmanager
def _database(*options: str) -> Iterator[tuple[ExitStack, Path, Postgres]]:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary.folder())
        database = Postgres(folder / "data", f"max_connections={MAX_CONNECTIONS}", *options)
        stack.callback(database.close)
        database.start()
        migrate(database.url)
        yield stack, folder, database


def _serve(stack: ExitStack, url: str, folder: Path) -> Service:
    service = Service(url, folder)
    stack.callback(service.stop)
    return service


@contextmanager
def plain() -> Iterator[Site]:
    with _database() as (stack, folder, database):
        service = _serve(stack, database.url, folder)
        yield Site(folder, database, [service], service.url, stack=stack)


@contextmanager
def behind_nginx() -> Iterator[Site]:
    """Two instances behind the shipped nginx configuration."""
    program("nginx")
    with _database() as (stack, folder, database):
        services = [_serve(stack, database.url, folder) for _ in range(2)]
        port = free_port()
        upstream = f"127.0.0.1:{services[0].port}; server 127.0.0.1:{services[1].port}"
        nginx = Process(nginx_command(folder, port, upstream), os.environ, folder / "nginx.log")
        stack.callback(nginx.stop)
        until(10, lambda: _listens("127.0.0.1", port), "nginx listens")
        yield Site(folder, database, services, f"http://127.0.0.1:{port}", nginx=nginx, stack=stack)


@contextmanager
def replicated() -> Iterator[Site]:
    """A primary with a synchronous standby; the service is given both."""
    hosts = [_loopback(), _loopback()]
    with _database(f"listen_addresses={hosts[0]}") as (stack, folder, primary):
        standby = Postgres(folder / "standby", f"max_connections={MAX_CONNECTIONS}", f"listen_addresses={hosts[1]}")
        stack.callback(standby.close)
        backup: list[str | Path] = [
            BINARIES / "pg_basebackup",
            "-U",
            "postgres",
            "-h",
            primary.sockets,
            "-D",
            standby.data,
            "-R",
            "-c",
        ]
        subprocess.run([*backup, "fast"], capture_output=True, check=True)
        programs = server_programs(folder / "programs")
        for path in (standby.data, *standby.data.rglob("*")):
            programs.give(path)
        standby.start()
        execute(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        execute(primary, "SELECT pg_reload_conf()")
        replicas = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        until(10, lambda: execute(primary, replicas) == [(1,)], "the standby is synchronous")
        both = ",".join(f"{host}:5432" for host in hosts)
        url = f"postgresql://postgres@{both}/userdata?target_session_attrs=read-write"
        service = _serve(stack, url, folder)
        yield Site(folder, primary, [service], service.url, standby, stack=stack)


@contextmanager
def proxied() -> Iterator[Site]:
    """Toxiproxy between service and database."""
    program = _toxiproxy_program()
    upstream, here = _loopback(), _loopback()
    with _database(f"listen_addresses={upstream}") as (stack, folder, database):
        port = free_port()
        process = Process([program, "-port", str(port)], os.environ, folder / "toxiproxy.log")
        stack.callback(process.stop)
        until(10, lambda: _listens("127.0.0.1", port), "Toxiproxy listens")
        toxiproxy = Toxiproxy(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
        stack.callback(toxiproxy.client.close)
        toxiproxy.create(f"{here}:5432", f"{upstream}:5432")
        service = _serve(stack, f"postgresql://postgres@{here}:5432/userdata", folder)
        yield Site(folder, database, [service], service.url, toxiproxy=toxiproxy, stack=stack)


@dataclass
class Toxiproxy:
    process: Process
    client: httpx.Client

    def create(self, listen: str, upstream: str) -> None:
        self._post("/proxies", {"name": "database", "listen": listen, "upstream": upstream, "enabled": True})

    @contextmanager
    def toxic(self, kind: str, *streams: str, **attributes: int) -> Iterator[None]:
        names = [f"{kind}-{stream}" for stream in streams]
        for name, stream in zip(names, streams, strict=True):
            toxic = {"name": name, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
            self._post("/proxies/database/toxics", toxic)
        yield
        for name in names:
            self.client.delete(f"/proxies/database/toxics/{name}").raise_for_status()

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self.client.post(path, json=body).raise_for_status()


def _toxiproxy_program() -> str:
    """Toxiproxy from the path, or built once with Go. Raises `NotRun`."""
    built = ROOT / ".local" / "chaos" / "toxiproxy-server"
    if found := shutil.which(built.name) or shutil.which(built):
        return found
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if not go:
        raise NotRun("neither toxiproxy-server nor go is installed")
    built.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([go, "install", TOXIPROXY], env=os.environ | {"GOBIN": str(built.parent)}, check=False)
    if done.returncode != 0:
        raise NotRun("Toxiproxy could not be built")
    (built.parent / "server").rename(built)
    return str(built)


def _loopback() -> str:
    """An address of this machine at which PostgreSQL's own port is free."""
    while True:
        # Each of Linux's loopback addresses has all ports.
        host = "127." + ".".join(str(1 + byte % 254) for byte in os.urandom(3))
        if not _listens(host, 5432):
            return host


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
