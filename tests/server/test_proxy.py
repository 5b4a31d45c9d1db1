"""The service behind the compose stack's nginx: TLS, sizes, forms, headers, rates."""

import contextlib
import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2 as httpx
import psutil
import pytest
from django.contrib.auth import get_user_model

from tests.conftest import BODY, SET, Server, free_port
from tests.server.conftest import workers_of
from tests.server.nginx import NGINX, Nginx, command, start_nginx
from tests.server.test_bodies import UPGRADE
from tests.server.wire import MIB, OBJECT, OK, Wire, chunk, chunked, request
from tests.tokens import token

pytestmark = [pytest.mark.proxy, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]

BY_EMAIL = "/user-data/by-email/set"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Nginx]]:
    """Start nginx in front of a port."""
    started: list[Nginx] = []

    def start(upstream_port: int, **changes: int) -> Nginx:
        started.append(start_nginx(tmp_path_factory.mktemp("nginx"), upstream_port, **changes))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture(scope="module")
def service(start_server: Callable[..., Server], database_url: str) -> Server:
    return start_server(wait="/readyz", DATABASE_URL=database_url, TRUST_PROXY_HEADERS="true")


@pytest.fixture(scope="module")
def proxy(start: Callable[..., Nginx], service: Server) -> Nginx:
    return start(service.port)


@pytest.fixture
def wire(proxy: Nginx, stored: object) -> Iterator[Callable[[], Wire]]:
    """Opens connections to the proxy."""
    wires: list[Wire] = []

    def wire() -> Wire:
        wires.append(Wire(proxy.port))
        return wires[-1]

    yield wire
    for opened in wires:
        opened.close()


@pytest.fixture
def tls(proxy: Nginx, stored: object) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    with httpx.Client(base_url=proxy.tls_url, verify=context, timeout=10) as client:
        yield client


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it got."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()} | {"body": body.decode()}
        content = json.dumps(headers | {"connection-number": self.client_address[1]}).encode()
        self.send_response(int(self.headers.get("X-Answer", 200)))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Nothing needs to be read."""


@pytest.fixture(scope="module")
def echo(start: Callable[..., Nginx]) -> Iterator[Nginx]:
    """A proxy in front of a server that tells what reaches it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield start(server.server_port)
        server.shutdown()


def echoed(nginx: Nginx, *parts: bytes) -> dict[str, Any]:
    """The headers that reach the server, and the body."""
    wire = Wire(nginx.port)
    wire.send(*parts)
    status, length = wire.received.readline(), 0
    while line := wire.received.readline().strip():
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    told: dict[str, Any] = json.loads(wire.received.read(length))
    wire.close()
    assert status == b"HTTP/1.1 200 OK\r\n"
    return told


# --- The way through ------------------------------------------------------------------------------


def test_it_accepts_its_configuration(proxy: Nginx) -> None:
    told = subprocess.run(command(proxy.log.parent, "-t", "-q"), capture_output=True, text=True)

    assert (told.returncode, told.stderr) == (0, "")


def test_a_value_is_set_with_and_without_tls(proxy: Nginx, tls: httpx.Client, stored: Any) -> None:
    headers = {"Authorization": f"Bearer {token()}"}

    assert httpx.post(f"{proxy.url}{SET}", json=BODY, headers=headers).json() == {"result": 0}
    assert tls.post(SET, json=BODY, headers=headers).json() == {"result": 0}
    assert stored.get().revision == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_is_current(proxy: Nginx, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    context.minimum_version = context.maximum_version = version

    with httpx.Client(verify=context) as client:
        assert client.get(f"{proxy.tls_url}/livez").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([request()], id="with a length"),
        pytest.param([chunked(), chunk(OBJECT[:9]), chunk(OBJECT[9:]), b"0\r\n\r\n"], id="in chunks"),
        pytest.param([request(version="HTTP/1.0")], id="HTTP/1.0"),
        pytest.param([request(host="elsewhere.example")], id="any host"),
        pytest.param([request(OBJECT, *UPGRADE)], id="with a request for HTTP/2"),
        pytest.param([request(OBJECT.ljust(2 * MIB))], id="a body at the limit"),
        pytest.param([request(OBJECT, f"X-Long: {'a' * 16_000}")], id="a header of 16 KB"),
    ],
)
def test_it_passes(wire: Any, stored: Any, parts: list[bytes]) -> None:
    reply = wire().call(*parts)

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().value == "dark"


def test_requests_sent_at_once_are_answered_in_order(wire: Any, stored: Any) -> None:
    connection = wire()
    connection.send(b"".join(request(b'{"request_id": %d, "value_key": "k", "value_data": ""}' % n) for n in range(20)))

    assert [connection.reply().result for _ in range(20)] == [{"request_id": n, "result": 0} for n in range(20)]


def test_what_the_client_says_of_its_way_is_replaced(echo: Nginx) -> None:
    lines = [
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Request-Id: mine",
        "X_Forwarded_Proto: https",
        "Connection: Upgrade",
        "Upgrade: h2c",
    ]

    told = echoed(echo, request(OBJECT, *lines, host="elsewhere.example:1"))

    assert (told["x-forwarded-for"], told["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert re.fullmatch("[0-9a-f]{32}", told["x-request-id"])
    assert not {"x_forwarded_proto", "upgrade", "connection"} & told.keys()
    assert (told["host"], told["body"]) == ("elsewhere.example:1", OBJECT.decode())


def test_a_body_arrives_with_its_length_and_without_trailers(echo: Nginx) -> None:
    """uvicorn would take a trailer for a header."""
    told = echoed(echo, chunked(), chunk(OBJECT), b"0\r\nX-Trailer: 1\r\n\r\n")

    assert (told["body"], told["content-length"]) == (OBJECT.decode(), str(len(OBJECT)))
    assert not {"x-trailer", "transfer-encoding"} & told.keys()


def test_connections_to_the_service_are_kept(echo: Nginx) -> None:
    assert len({echoed(echo, request())["connection-number"] for _ in range(20)}) < 10


def test_a_request_is_found_in_both_logs_by_one_name(proxy: Nginx, wire: Any) -> None:
    reply = wire().call(request(OBJECT, "X-Request-Id: mine", path=f"{SET}?access_token=secret"))

    name = reply.headers["x-request-id"]
    deadline = time.monotonic() + 5
    while not (lines := [line for line in proxy.log.read_text().splitlines() if name in line]):
        assert time.monotonic() < deadline  # nginx writes it when it has answered
        time.sleep(0.01)
    (line,) = lines
    entry = json.loads(line)
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", SET, 200)


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param([request(b"", length=3 * MIB + 1)], 413, id="a body over its limit"),
        pytest.param([chunked(), chunk(b" " * 2 * MIB), chunk(b" " * 2 * MIB)], 413, id="more chunks than its limit"),
        pytest.param([request(OBJECT, f"X-Long: {'a' * 17_000}")], 431, id="a header of 17 KB"),
        pytest.param([request(bearer="a" * MIB)], 431, id="a token of 1 MiB"),
        pytest.param([request(OBJECT, *(f"X-{n}: {'a' * 4_000}" for n in range(20)))], 431, id="80 KB of headers"),
        pytest.param([request(path=f"{SET}?{'a' * 17_000}")], 414, id="a path of 17 KB"),
        pytest.param([request(path="user-data/set")], 400, id="no path"),
        pytest.param([request(host=None)], 400, id="HTTP/1.1 without a host"),
        pytest.param([request(OBJECT, "Content-Length: 5")], 400, id="two lengths"),
        pytest.param([request(length="9" * 5_000)], 400, id="an endless length"),
        pytest.param([request(b"", "Transfer-Encoding: chunked")], 400, id="a length and chunks"),
        pytest.param([request(None, "Transfer-Encoding: gzip, chunked")], 501, id="another encoding"),
        pytest.param([chunked(), b"xyz\r\n"], 400, id="malformed chunks"),
        pytest.param([request(OBJECT, b"X: a\0b")], 400, id="a NUL in a header"),
        pytest.param([request(version="HTTP/3.7")], 505, id="another version"),
        pytest.param([request(method="TRACE")], 405, id="TRACE"),
        pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)], 400, id="TLS without TLS"),
        pytest.param([request(None, method="GET", path="/metrics")], 404, id="the counters"),
        pytest.param([request(None, method="GET", path="/readyz")], 404, id="readiness"),
        pytest.param([request(None, method="GET", path="//%6detrics?x")], 404, id="the counters in disguise"),
        pytest.param([request(None, method="GET", path="/x/../readyz")], 404, id="readiness in disguise"),
    ],
)
def test_it_refuses_in_the_form_of_the_api(wire: Any, stored: Any, parts: list[bytes], status: int) -> None:
    reply = wire().call(*parts)

    assert (reply.status, reply.result) == (status, {"result": -5})
    assert reply.detail == "The proxy refuses this request for its form, its size or its path."
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    assert reply.headers.get("allow") == ("POST" if status == 405 else None)
    assert not stored.exists()


@pytest.mark.parametrize(("path", "status"), [(SET, 413), (BY_EMAIL, 200)])
@pytest.mark.parametrize(
    ("length", "detail"),
    [
        (2 * MIB + 1, "The body may have at most 2097152 bytes."),
        (3 * MIB + 1, "The proxy refuses this request for its form, its size or its path."),
    ],
)
def test_a_body_over_the_limit_is_refused(wire: Any, path: str, status: int, length: int, detail: str) -> None:
    reply = wire().call(request(b" " * length, path=path))

    assert (reply.status, reply.result, reply.detail) == (status, {"result": -5}, detail)


def test_http_on_the_port_of_tls_is_refused(proxy: Nginx) -> None:
    wire = Wire(proxy.tls_port)
    reply = wire.call(request())
    wire.close()

    assert (reply.status, reply.result) == (400, {"result": -5})


@pytest.mark.parametrize(("path", "status"), [(SET, 502), (BY_EMAIL, 200), ("/docs", 502)])
def test_a_service_out_of_reach_is_told(start: Callable[..., Nginx], path: str, status: int) -> None:
    wire = Wire(start(free_port()).port)
    reply = wire.call(request(path=path))
    wire.close()

    assert (reply.status, reply.result, reply.headers["retry-after"]) == (status, {"result": -4}, "1")


@pytest.mark.parametrize("status", [500, 503])
def test_no_answer_can_be_taken_for_success(echo: Nginx, status: int) -> None:
    """uvicorn says 503 where it has too many connections."""
    wire = Wire(echo.port)
    reply = wire.call(request(OBJECT, f"X-Answer: {status}", path=BY_EMAIL))
    wire.close()

    assert (reply.status, reply.result, reply.headers["retry-after"]) == (200, {"result": -4}, "1")


def test_requests_by_one_address_are_bounded(start: Callable[..., Nginx], service: Server, stored: Any) -> None:
    nginx = start(service.port, requests_per_second=1)
    wire = Wire(nginx.port)
    wire.send(request(None, method="GET", path="/livez") * 450)
    statuses = [wire.reply().status for _ in range(450)]

    refused, by_email = wire.call(request()), wire.call(request(path=BY_EMAIL))
    wire.close()
    other = Wire(nginx.port, source="127.0.0.2")
    passed = other.call(request())
    other.close()

    assert 400 <= statuses.count(200) <= 420
    assert set(statuses) == {200, 429}
    for reply, status in ((refused, 429), (by_email, 200)):
        assert (reply.status, reply.result, reply.headers["retry-after"]) == (status, {"result": -4}, "1")
        assert reply.headers["access-control-allow-origin"] == "*"
    assert passed.body == OK


@pytest.mark.parametrize(
    ("head", "repeated"),
    [
        pytest.param(b"", request(method="PUT"), id="requests whose answers are not read"),
        pytest.param(b"POST /user-data/set HTTP/1.1\r\n", b"X: " + b"a" * 1_000 + b"\r\n", id="an endless head"),
    ],
)
def test_no_connection_fills_the_memory(wire: Any, service: Server, head: bytes, repeated: bytes) -> None:
    """uvicorn would let it."""
    connection = wire()
    connection.socket.settimeout(1)
    before = memory(service)

    connection.send(head)
    with contextlib.suppress(TimeoutError):
        connection.send(*[repeated * 200] * (100 * MIB // (200 * len(repeated))))

    assert memory(service) - before < 20 * MIB


def memory(server: Server) -> int:
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in workers_of(server))


# --- The admin ------------------------------------------------------------------------------------


def test_people_log_in_to_the_admin_by_tls_only(proxy: Nginx, tls: httpx.Client, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock():
        get_user_model().objects.filter(username="operator").delete()
        get_user_model().objects.create_superuser("operator", password="a long enough password")

    sent_on = httpx.get(f"{proxy.url}/admin/login/?next=/admin/")
    page = tls.get("/admin/login/?next=/admin/")
    form = {
        "csrfmiddlewaretoken": re.findall('name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[0],
        "username": "operator",
        "password": "a long enough password",
        "next": "/admin/",
    }
    logged_in = tls.post("/admin/login/", data=form, headers={"Origin": proxy.tls_url, "Referer": str(page.url)})

    assert (sent_on.status_code, sent_on.headers["location"]) == (307, f"{proxy.tls_url}/admin/login/?next=/admin/")
    assert (logged_in.status_code, logged_in.headers["location"]) == (302, "/admin/")
    for response, cookie in ((page, "csrftoken"), (logged_in, "sessionid")):
        (written,) = [line for line in response.headers.get_list("set-cookie") if line.startswith(f"{cookie}=")]
        assert {"Secure", "Path=/admin/"} <= set(written.split("; "))
    assert tls.get("/admin/").status_code == 200
    with django_db_blocker.unblock():
        get_user_model().objects.filter(username="operator").delete()
