"""The request log: its fields, and that nothing of what clients send gets into any line."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2 as httpx
import pytest

from tests.conftest import BODY, PROJECT, SET, Server, free_port
from tests.server.wire import Wire
from tests.tokens import APP, USER, token
from userdata.identity import Principal
from userdata.request_log import Line, RequestLog

NOT_FOR_LOGS = "n0t4logs"  # it is in everything that is sent
GET = "/user-data/by-email/get"


@pytest.fixture(scope="module")
def logging_server(start_server: Callable[..., Server], database_url: str) -> Server:
    return start_server(
        wait="/readyz", DATABASE_URL=database_url, LOG_REQUESTS="true", MAX_BODY_BYTES="2000", MAX_VALUE_BYTES="1000"
    )


def lines(server: Server) -> list[dict[str, Any]]:
    """The request log so far; a line is there before its answer."""
    parsed = [json.loads(line) for line in server.log.read_text().splitlines()]
    return [line for line in parsed if line["event"] == "request"]


@pytest.fixture
def send(logging_server: Server, stored: object) -> Callable[..., tuple[httpx.Response, dict[str, Any]]]:
    """Send a request; its answer and its line, which has the answer's id."""

    def send(
        body: Any = BODY, bearer: str | None = "", path: str = SET, **headers: str
    ) -> tuple[httpx.Response, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer or token()}"
        before = len(lines(logging_server))
        answer = httpx.post(f"{logging_server.url}{path}", content=data, headers=headers, timeout=10)
        (line,) = lines(logging_server)[before:]
        assert line["request_id"] == answer.headers["x-request-id"]
        return answer, line

    return send


Send = Callable[..., tuple[httpx.Response, dict[str, Any]]]


@pytest.mark.slow
def test_a_success_has_a_line(send: Send) -> None:
    began = datetime.now(UTC)
    _, line = send(BODY, **{"X-Request-Id": "from-the-proxy.1"})

    assert began <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert 0 < line.pop("duration_ms") < 3000
    assert len(line.pop("user")) == 16
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "userdata.request_log",
        "request_id": "from-the-proxy.1",
        "path": SET,
        "status": 200,
        "result": 0,
        "outcome": "SUCCESS",
        "app": APP,
    }


@pytest.mark.slow
def test_a_failure_has_the_endpoint_s_number_and_the_answer_s_reason(send: Send) -> None:
    answer, line = send({"value_keys": ["a", 1]}, path=GET)

    assert answer.headers["x-result-detail"]
    assert (line["result"], line["outcome"], line["status"]) == (-5, "INVALID_PARAMETERS", 200)
    assert (line["detail"], line["path"]) == (answer.headers["x-result-detail"], GET)
    assert (line["app"], len(line["user"])) == (APP, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bearer", "outcome"), [(None, "TOKEN_INVALID"), ("a.b.c", "TOKEN_INVALID"), (token(exp=1), "TOKEN_EXPIRED")]
)
def test_who_has_no_good_token_is_nobody(send: Send, bearer: str | None, outcome: str) -> None:
    answer, line = send(bearer=bearer)

    assert (line["outcome"], line["detail"]) == (outcome, answer.headers["x-result-detail"])
    assert not line.keys() & {"user", "app"}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "status"), [(SET, 413), ("/user-data/by-email/set", 200)])
def test_what_is_too_large_has_a_line_with_the_status_that_the_client_saw(send: Send, path: str, status: int) -> None:
    answer, line = send(b"x" * 2001, path=path)

    assert answer.status_code == line["status"] == status
    assert (line["result"], line["detail"]) == (-5, "The body may have at most 2000 bytes.")
    assert "user" not in line  # the token is looked at later


@pytest.mark.slow
def test_users_are_told_apart_by_a_hash_that_only_the_service_can_make(send: Send) -> None:
    first, again, other = (
        send(bearer=token(sub=sub, jti=jti))[1]["user"] for sub, jti in [("1", "a"), ("1", "b"), ("2", "c")]
    )

    assert first == again != other
    unkeyed = {hashlib.new(name, b"1").hexdigest()[:16] for name in ("md5", "sha1", "sha256", "blake2b")}
    assert first not in unkeyed | {hashlib.blake2b(b"1", digest_size=8).hexdigest()}


@pytest.mark.slow
def test_an_id_that_is_none_is_replaced(send: Send) -> None:
    _, line = send(**{"X-Request-Id": "two words"})

    assert len(line["request_id"]) == 32


@pytest.mark.slow
def test_only_endpoints_have_lines(logging_server: Server) -> None:
    before = lines(logging_server)

    for path in ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/admin/login/", "/user-data/none"):
        httpx.get(f"{logging_server.url}{path}", timeout=10)
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert httpx.options(f"{logging_server.url}{SET}", headers=preflight, timeout=10).status_code == 200

    assert lines(logging_server) == before


@pytest.mark.slow
def test_nothing_of_what_clients_send_is_in_any_line(logging_server: Server, stored: Any) -> None:
    mark = NOT_FOR_LOGS
    tokens = [
        token(sub=f"{mark}-sub", email=f"{mark}@example.com", wallet_address=f"{mark}-wallet", telegram_user_id=mark),
        token(sub=f"{mark}-sub", scope=mark),
        token(sub=f"{mark}-sub", exp=1),
        token(iss=f"https://{mark}.example"),
        token(headers={"kid": mark}),
        token(key=b"x" * 32, alg="HS256", sub=f"{mark}-sub"),
        token()[:-8] + mark,
        f"{mark}.{mark}.{mark}",
        mark,
    ]
    bodies: list[Any] = [
        {"value_key": f"{mark}-key", "value_data": f"{mark}-value"},
        {"value_keys": [f"{mark}-key", f"{mark}/{mark}"], "value_key": f"{mark}\n", "value_data": mark},
        {"value_key": mark * 40, "value_data": mark * 150},
        {"value_key": [mark], "value_data": {mark: mark}, "access_scope": mark, "search_id": mark, "page_size": mark},
        {"search_id": mark, "page_size": 1, "identity_provider": mark, mark: mark},
        {"identity_provider": "telegram", "value_key": mark, "value_data": mark, "value_keys": [mark] * 101},
        f'{{"value_key": "{mark}'.encode(),
        f'"{mark}"'.encode(),
        mark.encode() + b"\xff",
        mark.encode() * 300,
    ]
    paths = ["/user-data/set", "/user-data/get"] + [
        f"/user-data/by-{storage}/{action}"
        for storage in ("user-id", "email", "idp", "wallet")
        for action in ("set", "get", "list-get", "shared-list-get", "delete")
    ]
    before, sent = len(lines(logging_server)), 0
    results = set()
    with httpx.Client(base_url=logging_server.url, timeout=10) as client:

        def send(path: str, body: Any, bearer: str, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"} | headers
            answer = client.post(f"{path}?{mark}={mark}", content=data, headers=headers)
            results.add((answer.status_code, answer.json()["result"]))

        for path in paths:
            for body in bodies:
                send(path, body, tokens[0])
            for bearer in tokens[1:]:
                send(path, bodies[0], bearer)
            send(path, bodies[0], tokens[0], **{"Content-Type": f"text/{mark}"})
            send(path, bodies[0], tokens[0], **{"X-Request-Id": f"{mark} {mark}", "User-Agent": mark, "Cookie": mark})
            client.put(path, content=mark.encode())
            sent += len(bodies) + len(tokens) + 2
        client.post(f"/user-data/{mark}")
        client.get(f"/{mark}")
    with_nul = Wire(logging_server.port)
    with_nul.send(f"POST {SET} HTTP/1.1\r\nHost: {mark}\r\nContent-Length: {mark}\r\n\r\n{mark}".encode())
    with_nul.received.read()
    with_nul.close()

    text = logging_server.log.read_text()
    assert len(lines(logging_server)) - before >= sent
    assert {(200, 0), (200, -1), (200, -2), (200, -3), (200, -5), (413, -5)} <= results
    assert {value for row in stored.values() for value in row.values() if mark in str(value)}  # it was stored
    assert mark not in text
    for bearer in tokens:
        assert not any(part in text for part in bearer.split(".") if len(part) > 8)


def test_the_settings_switch_it_off(settings: Any) -> None:
    settings.LOG_REQUESTS, settings.LOG_LEVEL = True, "INFO"
    assert RequestLog.from_settings()
    settings.LOG_LEVEL = "WARNING"
    assert RequestLog.from_settings() is None
    settings.LOG_REQUESTS, settings.LOG_LEVEL = False, "DEBUG"
    assert RequestLog.from_settings() is None


def test_another_secret_makes_other_hashes() -> None:
    assert RequestLog("a" * 50).hash_of(USER) != RequestLog("b" * 50).hash_of(USER)


@pytest.mark.parametrize("app", ["plain", 'quo"te\\', "ünïcödé", "\U0001f600" * 63])
def test_a_line_is_json_and_reaches_a_pipe_in_one_piece(app: str) -> None:
    fields: dict[str, Any] = {
        "request_id": "x" * 128,
        "path": "/user-data/by-user-id/shared-list-get",
        "status": 200,
        "result": -5,
        "outcome": "IDENTITY_PROVIDER_NOT_FOUND",
        "duration_ms": 59999.99,
        "app": app,
        "user": "0123456789abcdef",
        "detail": 'A sentence, with a "quote".' + "." * 200,
    }
    now = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)

    line = Line(**fields).json(now.timestamp())

    assert line.endswith(b"}\n")
    assert len(line) < 4096
    assert json.loads(line) == fields | {
        "event": "request",
        "level": "info",
        "logger": "userdata.request_log",
        "timestamp": "2026-01-02T03:04:05.250000Z",
    }


def test_on_a_terminal_the_lines_are_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())

    RequestLog("a" * 50).write("some-id", SET, 200, 0, "SUCCESS", 0.0012, Principal(USER, APP, frozenset()), "")

    assert isinstance(sys.stderr, Terminal)
    (line,) = sys.stderr.getvalue().splitlines()
    assert not line.startswith("{")
    assert "some-id" in line
    assert "1.2" in line
    assert USER not in line


@pytest.mark.slow
def test_requests_are_answered_when_nobody_reads_the_log_any_more(database_url: str, stored: object) -> None:
    port = free_port()
    environment = os.environ | {"DATABASE_URL": database_url, "PORT": str(port), "LOG_REQUESTS": "true", "WORKERS": "1"}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "serve"],
        cwd=PROJECT,
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr
        server = Server(process, port, PROJECT / "README.md")  # type: ignore[arg-type]
        server.wait_for("/readyz")
        assert server.set().json() == {"result": 0}
        process.stderr.close()

        assert [server.set().json() for _ in range(3)] == [{"result": 0}] * 3
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
