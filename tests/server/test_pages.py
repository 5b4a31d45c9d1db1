"""Pages beside the API: what is logged, what protects them, what they make of requests that are not for them."""

import json
import logging
import subprocess
import sys
from typing import Any

import httpx2 as httpx
import pytest
from django.conf import settings
from django.core import checks

from hypersecureid import reference
from tests.conftest import PROJECT, Server
from tests.server.wire import MIB, chunk, chunked, request

PAGES = ["/", "/docs", "/openapi.json", "/admin/login/", "/nothing", "/static/nothing"]


def test_an_error_of_a_page_is_logged_with_its_cause(
    call: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(reference, "render", fail)

    response = call("GET", "/docs")

    assert (response.status_code, response.json()) == (500, {"result": -4})
    assert response["Content-Type"] == "application/json; charset=UTF-8"
    assert response["Retry-After"] == "1"
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert str(record.exc_info[1]) == "nobody thought of this"


def test_errors_of_pages_reach_the_log_of_a_process() -> None:
    """As it is set up in production, where no test looks on."""
    program = "\n".join(
        [
            "import django, logging",
            "django.setup()",
            "logging.getLogger('django.request').error('Internal Server Error: %s', '/docs')",
            "logging.getLogger('django.request').warning('Not Found: %s', '/nothing')",
        ]
    )

    told = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)

    (line,) = told.stderr.splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["event"]) == ("error", "Internal Server Error: /docs")


@pytest.mark.parametrize("path", [*PAGES, "/livez", "/readyz", "/metrics", "/user-data/set", "/user-data/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_answer_can_be_framed_or_guessed_at(call: Any, method: str, path: str) -> None:
    response = call(method, path)

    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"


def test_static_files_are_not_guessed_at(server: Server) -> None:
    response = httpx.get(f"{server.url}/static/hypersecureid/docs.js")

    assert (response.status_code, response.headers["x-content-type-options"]) == (200, "nosniff")


def test_pages_leave_nothing_but_json_in_the_log(server: Server) -> None:
    for path in [*PAGES, "/livez", "/static/hypersecureid/docs.js"]:
        httpx.get(f"{server.url}{path}")
        httpx.post(f"{server.url}{path}", data={"a": "b"})

    assert [line for line in server.log.read_text().splitlines() if not line.startswith("{")] == []


def test_no_system_check_is_silenced_and_all_pass() -> None:
    assert settings.SILENCED_SYSTEM_CHECKS == []
    assert [message.id for message in checks.run_checks()] == ["userdata.W001"]  # the tests' tokens have no audience


def test_manage_py_check_is_clean() -> None:
    told = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "check"], cwd=PROJECT, capture_output=True, text=True
    )

    assert told.returncode == 0
    assert "System check identified 1 issue (0 silenced)" in told.stderr + told.stdout


@pytest.mark.parametrize(
    ("path", "status"), [("/", 404), ("/livez", 200), ("/docs", 405), ("/openapi.json", 405), ("/admin/login/", 403)]
)
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_a_post_to_a_page_ends_without_a_traceback(call: Any, path: str, status: int, content_type: str) -> None:
    response = call("POST", path, b"--x\r\n\x00\xff", {"Content-Type": content_type})

    assert response.status_code == status
    assert b"Traceback" not in response.content


@pytest.mark.parametrize("path", PAGES)
def test_a_page_s_body_has_the_api_s_limit(wire: Any, path: str) -> None:
    for parts in (
        [request(b"", path=path, length=2 * MIB + 1)],
        [chunked(path=path), chunk(b"x" * 2 * MIB), chunk(b"x")],
    ):
        reply = wire().call(*parts)

        assert (reply.status, reply.result) == (413, {"result": -5})
        assert reply.detail == "The body may have at most 2097152 bytes."


def test_a_page_s_body_that_ends_early_is_refused(wire: Any) -> None:
    connection = wire()
    connection.send(request(b"a", path="/admin/login/", length=10))
    connection.end()

    assert connection.is_closed()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/user-data/set", 405), ("/docs", 400), ("/admin/", 400)],
)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_monitors_may_ask_by_any_host_name(wire: Any, path: str, status: int, version: str) -> None:
    """They often know an address only, and some ask in HTTP/1.0."""
    reply = wire().call(request(None, method="GET", path=path, host="10.1.2.3:8000", version=version))

    assert reply.status == status
    assert status != 400 or reply.detail == "The host name is not among ALLOWED_HOSTS."


def test_a_web_socket_is_refused(wire: Any) -> None:
    lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="]

    reply = wire().call(request(None, *lines, method="GET", path="/nothing"))

    assert (reply.status, reply.result) == (404, {"result": -5})
