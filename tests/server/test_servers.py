"""The application under each ASGI server: its default, and three that it does not know."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.conftest import BODY, PROJECT, SET, Server, free_port
from tests.server.wire import chunk, chunked
from tests.tokens import token

MODULE = "hypersecureid.asgi:application"
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "gunicorn": lambda port: ["manage.py", "serve"],
    "uvicorn": lambda port: ["-m", "uvicorn", "--host", "127.0.0.1", "--port", f"{port}", MODULE],
    "granian": lambda port: [
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--host",
        "127.0.0.1",
        "--port",
        f"{port}",
        MODULE,
    ],
    "hypercorn": lambda port: ["-m", "hypercorn", "--bind", f"127.0.0.1:{port}", MODULE],
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: Any, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, log = free_port(), tmp_path_factory.mktemp(request.param) / "log"
    unset = {"PROMETHEUS_MULTIPROC_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"DATABASE_URL": database_url, "PORT": str(port)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *SERVERS[request.param](port)],
            cwd=PROJECT,
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
        )
    server = Server(process, port, log)
    server.wait_for("/readyz")
    yield server
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.fixture
def client(server: Server, stored: object) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token()}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=10) as client:
        yield client


def test_what_is_set_can_be_read(client: httpx.Client, stored: Any) -> None:
    put = client.post(SET, json=BODY | {"request_id": 7})
    got = client.post("/user-data/get", json={"request_id": 8, "value_keys": ["theme"]})

    assert (put.status_code, put.json()) == (200, {"request_id": 7, "result": 0})
    assert got.json() == {"request_id": 8, "result": 0, "values": [{"value_key": "theme", "value_data": "dark"}]}
    assert put.headers["content-type"] == "application/json; charset=UTF-8"
    assert stored.get().value == "dark"


def test_a_connection_serves_many_requests(client: httpx.Client, stored: Any) -> None:
    for number in range(20):
        assert client.post(SET, json=BODY | {"request_id": number}).json() == {"request_id": number, "result": 0}
    assert stored.get().revision == 20


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "answer"),
    [
        pytest.param("POST", SET, b"{", 200, {"result": -5}, id="bad JSON"),
        pytest.param("POST", SET, b'{"request_id": 7}', 200, {"request_id": 7, "result": -5}, id="no key"),
        pytest.param("PUT", SET, b"{}", 405, {"result": -5}, id="another method"),
        pytest.param("POST", "/user-data/nothing", b"{}", 404, {"result": -5}, id="an unknown path"),
        pytest.param("POST", "/nothing", b"{}", 404, {"result": -5}, id="an unknown page"),
        pytest.param("POST", SET, b" " * (2 * 2**20 + 1), 413, {"result": -5}, id="too large"),
        pytest.param("POST", "/admin/login/", b" " * (2 * 2**20 + 1), 413, {"result": -5}, id="too large for a page"),
    ],
)
def test_a_failure_is_as_documented(
    client: httpx.Client, stored: Any, method: str, path: str, content: bytes, status: int, answer: dict[str, int]
) -> None:
    response = client.request(method, path, content=content, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()) == (status, answer)
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    assert not stored.exists()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/livez", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain"),
        ("/docs", "text/html"),
        ("/openapi.json", "application/json"),
        ("/admin/login/", "text/html"),
        ("/static/hypersecureid/docs.js", "text/javascript"),
    ],
)
def test_it_has_the_page(client: httpx.Client, path: str, kind: str) -> None:
    response = client.get(path)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    assert response.content


def test_a_large_chunked_body_is_read_whole(client: httpx.Client, stored: Any) -> None:
    body = json.dumps(BODY).encode().ljust(300 * 1024)
    parts = (body[start : start + 10_000] for start in range(0, len(body), 10_000))

    response = client.post(SET, content=parts, headers={"Content-Type": "application/json"})

    assert response.request.headers["transfer-encoding"] == "chunked"
    assert response.json() == {"result": 0}
    assert stored.get().value == "dark"


def test_a_client_that_goes_away_stores_nothing(server: Server, wire: Any, client: httpx.Client, stored: Any) -> None:
    connection = wire()
    connection.send(chunked(), chunk(json.dumps(BODY).encode()))
    connection.close()

    assert client.post(SET, json=BODY | {"value_key": "other"}).json() == {"result": 0}
    assert stored.get().key == "other"


def test_sigterm_ends_it(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)

    server.process.wait(10)
    log = Path(server.log).read_text()
    assert "Traceback" not in log
    assert "Task was destroyed" not in log
