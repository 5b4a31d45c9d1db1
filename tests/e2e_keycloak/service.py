"""This service as the production server runs it, on loopback, over a database of its own."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg

from .keycloak import ROOT, free_port

START_SECONDS = 30
# Long enough that a rotated key is met before it is fetched, short enough to wait for.
REFRESH_SECONDS = 3


@dataclass(frozen=True)
class Service:
    """A running server and its database."""

    url: str
    database_url: str

    def call(self, token: str, path: str, **fields: Any) -> dict[str, Any]:
        """What an endpoint answers, without the `request_id`."""
        answer = httpx.post(
            f"{self.url}/user-data/{path}",
            headers={"Authorization": f"Bearer {token}"},
            json={"request_id": 7, **fields},
        )
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        assert body.pop("request_id") == 7
        return body

    def set(self, token: str, key: str, value: str) -> int:
        """The result of storing a value."""
        result: int = self.call(token, "set", value_key=key, value_data=value)["result"]
        return result

    def paths(self) -> frozenset[str]:
        """The paths of all endpoints, below `/user-data/`, as the service describes itself."""
        document = httpx.get(f"{self.url}/openapi.json").raise_for_status().json()
        return frozenset(path.removeprefix("/user-data/") for path in document["paths"])

    def clear(self) -> None:
        """Forget everything."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("DELETE FROM userdata_storedvalue")

    def stored(self, key: str) -> list[tuple[Any, ...]]:
        """Owner, value, app and revision of every row under a key."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(
                "SELECT owner_kind, owner_id, value, app, revision FROM userdata_storedvalue WHERE key = %s", [key]
            ).fetchall()


@contextmanager
def running(database_url: str, log: Path, **settings: str) -> Iterator[Service]:
    """The service with these settings on top of the few that it needs; ready when yielded."""
    port = free_port()
    # Nothing of the caller's own configuration may seep in.
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    environment = inherited | {
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.token_hex(32),
        "ALLOWED_HOSTS": "127.0.0.1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": "2",
        **settings,
    }
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "--no-input", "-v0"], env=environment, check=True)
    service = Service(f"http://127.0.0.1:{port}", database_url)
    with log.open("wb") as output:
        server = subprocess.Popen([*manage, "serve"], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(service, server, log)
        yield service
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(service: Service, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    answer = "nothing"
    while server.poll() is None and time.monotonic() < deadline:
        try:
            ready = httpx.get(f"{service.url}/readyz")
        except httpx.TransportError:
            pass
        else:
            if ready.status_code == 200:
                return
            answer = ready.text
        time.sleep(0.1)
    raise RuntimeError(f"the service is not ready; it answered {answer}, and logged:\n{log.read_text()[-3000:]}")
