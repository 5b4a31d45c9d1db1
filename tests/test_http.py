"""The HTTP server by itself, in front of an application that echoes; some limits are lowered, so that they are met."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

from hypersecureid.http import connection
from hypersecureid.http.exchange import Environ, Response
from hypersecureid.http.listener import Listener
from tests.wire import Wire, chunk
from userdata import waiting

Client = Callable[[Callable[[], Wire]], Any]


def echo(environ: Environ) -> Response:
    """Method, path and body; and what else the query asks for."""
    body = environ["wsgi.input"].read(1_000_000)
    lines = [environ["REQUEST_METHOD"], environ["PATH_INFO"], body.decode()]
    lines += [f"{name}={environ.get(name)}" for name in environ["QUERY_STRING"].split("&") if name]
    content = "|".join(lines).encode()
    return 200, [("Content-Length", str(len(content)))], content


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Serves for as long as a client runs, which is given a function that connects, and returns what that returns."""
    monkeypatch.setattr(waiting, "_serving", None)
    monkeypatch.setattr(waiting, "_idle", [])
    monkeypatch.setattr(connection, "TICK_SECONDS", 0.1)

    def serve(client: Client, application: Callable[[Environ], Response] = echo, **limits: float) -> Any:
        for name, limit in limits.items():
            monkeypatch.setattr(connection, name, limit)
        return uvloop.run(serving(client, application))

    async def serving(client: Client, application: Callable[[Environ], Response]) -> Any:
        with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as wires:

            def connect() -> Wire:
                wire = Wire(listening.getsockname()[1])
                wires.callback(wire.close)
                return wire

            served = asyncio.create_task(Listener(listening.dup(), application).serve())
            try:
                return await asyncio.to_thread(client, connect)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                await served

    return serve


def request(body: bytes = b"", *lines: str, method: str = "POST", target: str = "/a", version: str = "1.1") -> bytes:
    head = [f"{method} {target} HTTP/{version}", "Host: x", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


def test_requests_are_the_same_however_their_bytes_are_split(serve: Callable[..., Any]) -> None:
    chunked = b"PUT /b%20c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"two") + chunk(b"!") + b"0\r\n\r\n"
    sent = request(b"one", method="BREW") + chunked + b"\r\n" + request(b"three", target="/d?HTTP_X", method="GET")

    def client(connect: Callable[[], Wire]) -> None:
        for size in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
            wire = connect()
            for start in range(0, len(sent), size):
                wire.send(sent[start : start + size])
                time.sleep(0.0005)
            bodies = [wire.reply().body for _ in range(3)]
            assert bodies == [b"BREW|/a|one", b"PUT|/b c|two!", b"GET|/d|three|HTTP_X=None"]

    serve(client)


def test_headers_reach_the_application_as_wsgi_has_them(serve: Callable[..., Any]) -> None:
    names = ["HTTP_X_A", "HTTP_COOKIE", "CONTENT_TYPE", "HTTP_CONTENT_TYPE", "REMOTE_ADDR", "SERVER_PROTOCOL"]

    def client(connect: Callable[[], Wire]) -> None:
        lines = ["X-A: 1", "x-a: 2", "X_A: 3", "Cookie: a=1", "Cookie: b=2", "Content-Type: text/plain"]
        reply = connect().call(request(b"", *lines, target="/?" + "&".join(names)))
        assert reply.body.decode().split("|")[3:] == [
            "HTTP_X_A=1,2",  # and not the 3: a proxy that removes X-A would let X_A pass
            "HTTP_COOKIE=a=1; b=2",
            "CONTENT_TYPE=text/plain",
            "HTTP_CONTENT_TYPE=None",
            "REMOTE_ADDR=127.0.0.1",
            "SERVER_PROTOCOL=HTTP/1.1",
        ]
        assert reply.headers["date"].endswith(" GMT")

    serve(client)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="target"),
        pytest.param(b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="target of a POST"),
        pytest.param(b"POST / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431, id="value"),
        pytest.param(b"POST / HTTP/1.1\r\n" + b"X: a\r\n" * 2000 + b"\r\n", 431, id="number"),
        pytest.param(b"POST / HTTP/1.1\r\nX: " + b"a" * 400_000, 431, id="value without an end"),
        pytest.param(b"G" * 400_000, 414, id="line without an end"),
    ],
)
def test_a_head_has_bounds(serve: Callable[..., Any], head: bytes, status: int) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        for parts in ([head], [head[start : start + 10_000] for start in range(0, len(head), 10_000)]):
            wire = connect()
            reply = wire.call(*parts)
            assert (reply.status, reply.body) == (status, b"")
            assert wire.is_closed()

    serve(client)


def test_what_follows_a_body_is_no_header(serve: Callable[..., Any]) -> None:
    """A proxy that removes a header from the head of a request may let it pass behind the body."""

    def late(environ: Environ) -> Response:
        environ["wsgi.input"].read(100)
        return echo(environ)

    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        head = b"POST /?HTTP_X&HTTP_Y HTTP/1.1\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        wire.send(head)
        time.sleep(0.1)
        assert wire.call(chunk(b"a"), b"0\r\nX: 2\r\nY: 3\r\n\r\n").body == b"POST|/|a|HTTP_X=1|HTTP_Y=None"
        assert wire.call(head + chunk(b"a"), b"0\r\nX: 2\r\nY: 3\r\n\r\n").body == b"POST|/|a|HTTP_X=1|HTTP_Y=None"

    serve(client, late)


@pytest.mark.parametrize(
    "endless", [b"0\r\nX: " + b"a" * 500_000, b"0\r\n" + b"X: a\r\n" * 50_000, b"1;" + b"a" * 500_000]
)
def test_what_stands_around_a_body_has_bounds(serve: Callable[..., Any], endless: bytes) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        wire.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"a"))
        time.sleep(0.1)
        assert wire.call(endless).body == b"POST|/a|"
        assert wire.is_closed()

    serve(client)


def test_a_client_may_stop_sending_and_still_read(serve: Callable[..., Any]) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        wire.send(request(b"one"), request(b"two"))
        wire.end()
        assert [wire.reply().body, wire.reply().body] == [b"POST|/a|one", b"POST|/a|two"]
        assert wire.is_closed()

    serve(client)


@pytest.mark.parametrize("size", [1, 20, 10_000])
def test_an_upgrade_is_not_taken_up(serve: Callable[..., Any], size: int) -> None:
    """Java's HttpClient, for one, asks for HTTP/2 in this way unless told otherwise, with the body of its POST."""
    ask = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    ]
    in_chunks = "\r\n".join(["POST /b HTTP/1.1", *ask, "Transfer-Encoding: chunked", "", ""]).encode()
    sent = (
        request(b"one", *ask)
        + in_chunks
        + chunk(b"tw")
        + chunk(b"o")
        + b"0\r\n\r\n"
        + request(b"", *ask)
        + request(b"x")
    )

    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        wire.send(*(sent[start : start + size] for start in range(0, len(sent), size)))
        bodies = [wire.reply().body for _ in range(4)]
        assert bodies == [b"POST|/a|one", b"POST|/b|two", b"POST|/a|", b"POST|/a|x"]

    serve(client)


def test_a_body_that_comes_too_slowly_is_taken_for_cut(serve: Callable[..., Any]) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        started = time.monotonic()
        wire.send(request(b"x" * 100)[:-50])
        assert wire.reply().body == b"POST|/a|"
        assert 0.4 < time.monotonic() - started < 2
        assert wire.is_closed()

    serve(client, BODY_SECONDS=0.5)


@pytest.mark.parametrize("sent", [b"", b"P", b"POST / HTTP/1.1\r\nX:"])
def test_a_head_that_comes_too_slowly_ends_the_connection(serve: Callable[..., Any], sent: bytes) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        wire.send(sent)
        assert 0.4 < seconds_to_its_end(wire) < 2

    serve(client, HEAD_SECONDS=0.5)


def test_a_connection_may_be_idle_for_some_time(serve: Callable[..., Any]) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        for _ in range(3):
            assert wire.call(request()).status == 200
            time.sleep(0.4)
        assert 0.2 < seconds_to_its_end(wire) < 2

    serve(client, IDLE_SECONDS=0.8, HEAD_SECONDS=0.2)


def seconds_to_its_end(wire: Wire) -> float:
    started = time.monotonic()
    wire.socket.settimeout(5)
    try:
        assert wire.socket.recv(1) == b""
    except ConnectionResetError:
        """That is an end, too."""
    return time.monotonic() - started


def test_the_longest_idle_connection_makes_room(serve: Callable[..., Any]) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wires = [connect() for _ in range(3)]
        for wire in (wires[1], wires[2], wires[0]):
            assert wire.call(request()).status == 200
            time.sleep(0.01)
        late, later = connect(), connect()
        assert [late.call(request(b"late")).body, later.call(request()).status] == [b"POST|/a|late", 200]
        assert wires[1].is_closed()
        assert wires[2].is_closed()
        assert wires[0].call(request()).status == 200

    serve(client, MAX_CONNECTIONS=3)


def test_who_finds_no_room_is_told(serve: Callable[..., Any]) -> None:
    def client(connect: Callable[[], Wire]) -> None:
        wires = [connect() for _ in range(3)]
        for wire in wires:
            wire.send(request(b"12")[:-1])
        time.sleep(0.1)
        late = connect()
        reply = late.reply()
        assert (reply.status, reply.body) == (503, b"")
        assert late.is_closed()
        for wire in wires:
            assert wire.call(b"2").body == b"POST|/a|12"

    serve(client, MAX_CONNECTIONS=3)


def test_who_does_not_read_answers_is_not_served_for_ever(serve: Callable[..., Any]) -> None:
    answered = 0

    def large(environ: Environ) -> Response:
        nonlocal answered
        answered += 1
        return 200, [("Content-Length", "100000")], b"x" * 100_000

    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        wire.socket.settimeout(0.5)
        many = request() * 1000
        sent = 0
        try:
            while sent < 50_000_000:
                sent += wire.socket.send(many)
        except TimeoutError:
            """The server reads no more."""
        assert sent < 50_000_000
        assert answered < 200
        time.sleep(2.5)
        with pytest.raises(OSError, match=r"reset|Broken"):
            wire.socket.sendall(many)

    serve(client, large, IDLE_SECONDS=2, HEAD_SECONDS=2)


def test_an_early_answer_reaches_who_is_still_sending(serve: Callable[..., Any]) -> None:
    def early(environ: Environ) -> Response:
        return 413, [("Content-Length", "5")], b"early"

    def client(connect: Callable[[], Wire]) -> None:
        wire = connect()
        wire.send(request(b"x" * 30_000_000))
        reply = wire.reply()
        assert (reply.status, reply.headers["connection"], reply.body) == (413, "close", b"early")

    serve(client, early)


def test_what_is_under_way_is_answered_before_the_end(serve: Callable[..., Any]) -> None:
    def slow(environ: Environ) -> Response:
        waiting.wait(asyncio.sleep, 0.5)
        return echo(environ)

    def client(connect: Callable[[], Wire]) -> tuple[Wire, Wire]:
        busy, idle = connect(), connect()
        assert idle.call(request()).status == 200
        busy.send(request(b"one"))
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        reply = busy.reply()
        assert (reply.body, reply.headers["connection"]) == (b"POST|/a|one", "close")
        assert busy.is_closed()
        assert idle.is_closed()
        return busy, idle

    serve(client, slow)


def test_a_failure_of_the_application_ends_its_connection_only(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def failing(environ: Environ) -> Response:
        if environ["PATH_INFO"] == "/fail":
            raise LookupError("unforeseen")
        return echo(environ)

    def client(connect: Callable[[], Wire]) -> None:
        other = connect()
        assert other.call(request()).status == 200
        wire = connect()
        wire.send(request(target="/fail"))
        assert wire.is_closed()
        assert other.call(request()).status == 200

    serve(client, failing)
    assert "unforeseen" in caplog.text
