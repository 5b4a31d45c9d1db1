"""What the tests share: a client, the table, and the production server as a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2 as httpx
import pytest
from django.db import connection
from django.db.models.manager import BaseManager

from tests.application import Response, Running
from tests.tokens import token
from userdata.models import StoredValue

PROJECT = Path(__file__).resolve().parent.parent
SET = "/user-data/set"
BODY = {"value_key": "theme", "value_data": "dark"}


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """The tests' own database, migrated; pytest-django would make it only for tests that roll back."""
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        connection.close()
    yield
    with django_db_blocker.unblock():
        connection.creation.destroy_test_db(name, verbosity=0)


@pytest.fixture
def stored(django_db_setup: None, django_db_blocker: Any) -> Iterator[BaseManager[StoredValue]]:
    """The table, empty at the start. The service commits by itself, so nothing is rolled back."""
    with django_db_blocker.unblock():
        StoredValue.objects.all().delete()
        yield StoredValue.objects
        connection.close()


@pytest.fixture(scope="session")
def running(django_db_setup: None) -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@pytest.fixture
def call(running: Running, stored: object) -> Callable[..., Response]:
    """Call the service in this process: method, path, body in bytes, headers."""
    return running.call


@pytest.fixture
def post(call: Callable[..., Response]) -> Callable[..., Response]:
    """POST: a body as a value or in bytes, a token or None, a path, headers."""

    def post(
        body: Any = BODY,
        bearer: str | None = "",
        path: str = SET,
        content_type: str = "application/json",
        **headers: str,
    ) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if bearer is not None:
            headers = {"Authorization": f"Bearer {bearer or token()}"} | headers
        return call("POST", path, data, ({"Content-Type": content_type} if content_type else {}) | headers)

    return post


@dataclass
class Server:
    """The production server as a real process."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, body: Any = BODY, bearer: str | None = "", **kwargs: Any) -> httpx.Response:
        headers = kwargs.pop("headers", {})
        if bearer is not None:
            headers = {"Authorization": f"Bearer {bearer or token()}"} | headers
        return httpx.post(f"{self.url}{SET}", json=body, headers=headers, timeout=10, **kwargs)

    def wait_for(self, path: str, status: int = 200, seconds: float = 20) -> httpx.Response:
        """Ask until a path answers with a status; fails with the log's end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                response = httpx.get(f"{self.url}{path}", timeout=5)
                if response.status_code == status:
                    return response
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} did not come to {status}: {self.log.read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)


@pytest.fixture(scope="session")
def database_url(django_db_setup: None) -> str:
    """The URL of the tests' own database, for processes other than this one."""
    url = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(url._replace(path="/" + quote(connection.settings_dict["NAME"])))


@pytest.fixture(scope="session")
def start_server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start `manage.py serve` with the environment of the tests and the changes given; None unsets."""
    servers: list[Server] = []

    def start_server(wait: str = "/livez", **environment: str | None) -> Server:
        port = free_port()
        changes = {"HOST": "127.0.0.1", "PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": None} | environment
        merged = {name: value for name, value in (os.environ | changes).items() if value is not None}
        log = tmp_path_factory.mktemp("server") / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"], cwd=PROJECT, env=merged, stdout=output, stderr=output, text=True
            )
        server = Server(process, port, log)
        servers.append(server)
        if wait:
            server.wait_for(wait)
        return server

    yield start_server
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def shared_server(start_server: Callable[..., Server], database_url: str) -> Server:
    return start_server(wait="/readyz", DATABASE_URL=database_url)


@pytest.fixture
def server(shared_server: Server, stored: object) -> Server:
    """A running server over an empty table, shared by the tests that leave it as it is."""
    return shared_server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
