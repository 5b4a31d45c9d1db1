"""POST /user-data/set as bytes on a socket: the production server, and clients that are not polite."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import SET, Server
from tests.tokens import token
from tests.wire import Reply, Wire, chunk

MIB = 2**20
OBJECT = b'{"request_id": 7, "value_key": "theme", "value_data": "dark"}'
OK = b'{"request_id": 7, "result": 0}'


@pytest.fixture
def wire(server: Server) -> Iterator[Callable[[], Wire]]:
    """Opens connections to the server."""
    wires: list[Wire] = []

    def wire() -> Wire:
        wires.append(Wire(server.port))
        return wires[-1]

    yield wire
    for opened in wires:
        opened.close()


@pytest.fixture
def workers(server: Server) -> Iterator[None]:
    """Asserts that the workers are the same processes before and after."""

    def pids() -> set[str]:
        rows = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        return {pid for pid, parent in map(str.split, rows.splitlines()) if parent == str(server.process.pid)}

    before = pids()
    assert len(before) >= 2
    yield
    assert pids() == before


@pytest.fixture(scope="module", autouse=True)
def unfinished(shared_server: Server) -> Iterator[Future[float]]:
    """The seconds for which the server waits for the rest of a header, while the other tests run."""

    def wait() -> float:
        with socket.create_connection(("127.0.0.1", shared_server.port), timeout=30) as slow:
            started = time.monotonic()
            slow.sendall(b"POST /user-data/set HTTP/1.1\r\nHost:")
            answer = slow.recv(1000)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
            return time.monotonic() - started

    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(wait)


def request(
    body: bytes | None = OBJECT,
    *lines: str | bytes,
    method: str = "POST",
    path: str = SET,
    version: str = "HTTP/1.1",
    host: str | None = "127.0.0.1",
    content_type: str | None = "application/json",
    bearer: str | None = "",
    length: int | None = None,
) -> bytes:
    """A request; `lines` are header lines, and a body of None has neither length nor bytes."""
    head: list[str | bytes] = [f"{method} {path} {version}"]
    if host is not None:
        head.append(f"Host: {host}")
    if content_type is not None:
        head.append(f"Content-Type: {content_type}")
    if bearer is not None:
        head.append(f"Authorization: Bearer {bearer or token()}")
    head += lines
    if body is not None:
        head.append(f"Content-Length: {len(body) if length is None else length}")
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in [*head, "", ""]) + (body or b"")


def chunked(*lines: str, **changes: Any) -> bytes:
    """The head of a request whose body comes in chunks."""
    return request(None, "Transfer-Encoding: chunked", *lines, **changes)


def with_member(name: bytes, value: bytes) -> bytes:
    return OBJECT[:-1] + b', "%s": %s}' % (name, value)


# --- How a body may come --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([chunk(OBJECT), b"0\r\n\r\n"], id="one chunk"),
        pytest.param([*(chunk(OBJECT[i : i + 1]) for i in range(len(OBJECT))), b"0\r\n\r\n"], id="a chunk a byte"),
        pytest.param([b"3D;ext=1\r\n" + OBJECT + b"\r\n", b"0\r\nX-Trailer: 1\r\n\r\n"], id="extension and trailer"),
    ],
)
def test_a_chunked_body_is_read_whole(wire: Any, stored: Any, parts: list[bytes]) -> None:
    connection = wire()
    connection.send(chunked())
    for part in parts:
        connection.send(part)

    reply = connection.reply()

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().value == "dark"
    assert connection.call(request()).result == {"request_id": 7, "result": 0}


def test_a_chunked_body_at_the_limit_is_read_whole(wire: Any, stored: Any) -> None:
    body = OBJECT.ljust(2 * MIB)

    reply = wire().call(chunked(), *(chunk(body[i : i + 65_536]) for i in range(0, 2 * MIB, 65_536)), b"0\r\n\r\n")

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().revision == 1


def test_a_chunked_body_over_the_limit_is_refused_before_its_end(wire: Any, stored: Any) -> None:
    connection = wire()

    reply = connection.call(chunked(), chunk(OBJECT.ljust(MIB)), chunk(b" " * MIB), chunk(b" "))  # and no last chunk

    assert (reply.status, reply.result) == (413, {"result": -5})
    assert reply.detail == "The body may have at most 2097152 bytes."
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize("chunks", [b"xyz\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n{}"])
def test_malformed_chunks_are_no_body(wire: Any, stored: Any, chunks: bytes) -> None:
    connection = wire()

    reply = connection.call(chunked(), chunks)

    assert (reply.status, reply.result) == (200, {"result": -5})
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_request_without_a_length_has_no_body(wire: Any, stored: Any, version: str) -> None:
    reply = wire().call(request(None, version=version))

    assert (reply.status, reply.result) == (200, {"result": -5})
    assert reply.detail == "The body is empty; it must be a JSON object."
    assert not stored.exists()


@pytest.mark.parametrize("missing", [1, 500])
def test_a_body_that_ends_early_is_not_stored(wire: Any, stored: Any, missing: int) -> None:
    connection = wire()
    connection.send(request(length=len(OBJECT) + missing))
    connection.end()

    reply = connection.reply()

    assert (reply.status, reply.result["result"]) == (200, -5)
    assert reply.detail == "The body ended early."
    assert connection.is_closed()
    assert not stored.exists()


def test_a_chunked_body_that_ends_early_is_not_stored(wire: Any, stored: Any) -> None:
    connection = wire()
    connection.send(chunked(), b"3d\r\n", OBJECT[:-1])
    connection.end()

    reply = connection.reply()

    assert (reply.status, reply.result) == (200, {"result": -5})
    assert connection.is_closed()
    assert not stored.exists()


def test_a_client_that_goes_away_is_not_missed(wire: Any, stored: Any, workers: None) -> None:
    for sent in (b"POST /user", request(length=1000), chunked() + b"3d\r\n{"):
        connection = wire()
        connection.send(sent)
        connection.close()

    assert wire().call(request()).body == OK
    assert stored.get().value == "dark"


def test_what_follows_a_body_is_the_next_request(wire: Any, stored: Any) -> None:
    connection = wire()

    cut = connection.call(request(length=len(OBJECT) - 1))

    assert (cut.status, cut.result) == (200, {"result": -5})
    assert connection.reply().status == 400  # the byte left over begins no request
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize("length", ["abc", "-1", "+61", "1e1", "61, 62", "99999999999999999999999"])
def test_a_length_that_is_no_number_is_refused(wire: Any, stored: Any, length: str) -> None:
    connection = wire()

    reply = connection.call(request(None, f"Content-Length: {length}") + OBJECT)

    assert (reply.status, reply.body) == (400, b"")
    assert connection.is_closed()
    assert not stored.exists()


def test_two_lengths_are_refused(wire: Any, stored: Any) -> None:
    connection = wire()

    assert connection.call(request(OBJECT, "Content-Length: 5")).status == 400
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize("length", [0, 3, len(OBJECT)])
def test_chunks_and_a_length_together_are_refused(wire: Any, stored: Any, length: int) -> None:
    """RFC 9112, section 6.3: they look like request smuggling."""
    connection = wire()

    reply = connection.call(request(b"", "Transfer-Encoding: chunked", length=length), chunk(OBJECT), b"0\r\n\r\n")

    assert (reply.status, reply.body) == (400, b"")
    assert connection.is_closed()
    assert not stored.exists()


# --- Each limit, at it and just over it -----------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "result"),
    [
        pytest.param("k" * 128, 0, id="128 characters"),
        pytest.param("k" * 129, -7, id="129 characters"),
        pytest.param("\U0001f511" * 128, 0, id="512 bytes"),
        pytest.param("\U0001f511" * 129, -7, id="516 bytes"),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_key_at_the_limit(wire: Any, stored: Any, key: str, result: int, escaped: bool) -> None:
    body = json.dumps({"request_id": 7, "value_key": key, "value_data": "v"}, ensure_ascii=escaped).encode()

    reply = wire().call(request(body))

    assert (reply.status, reply.result) == (200, {"request_id": 7, "result": result})
    assert list(stored.values_list("key", flat=True)) == ([key] if result == 0 else [])


@pytest.mark.parametrize(
    ("character", "written", "bytes_each"),
    [
        pytest.param("a", b"a", 1, id="raw"),
        pytest.param("a", b"\\u0061", 1, id="escaped"),
        pytest.param("\u00e9", "\u00e9".encode(), 2, id="raw, two bytes each"),
        pytest.param("\u00e9", b"\\u00e9", 2, id="escaped, two bytes each"),
        pytest.param("\U0001f511", b"\\ud83d\\udd11", 4, id="escaped as surrogate pairs"),
    ],
)
def test_a_value_at_the_limit(wire: Any, stored: Any, character: str, written: bytes, bytes_each: int) -> None:
    many = 262_144 // bytes_each

    def put(written_value: bytes) -> Reply:
        reply: Reply = connection.call(request(b'{"value_key": "k", "value_data": "%s"}' % written_value))
        return reply

    connection = wire()
    over = put(written * many + b"b")

    assert (over.status, over.result) == (200, {"result": -5})
    assert over.detail == "value_data may have at most 262144 bytes in UTF-8."
    assert not stored.exists()
    assert put(written * many).result == {"result": 0}
    assert stored.get().value == character * many


def test_a_body_at_the_limit(wire: Any, stored: Any) -> None:
    reply = wire().call(request(OBJECT.ljust(2 * MIB)))

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().revision == 1


@pytest.mark.parametrize("length", [2 * MIB + 1, 2**62])
def test_a_body_over_the_limit_is_refused_before_it_comes(wire: Any, stored: Any, length: int) -> None:
    connection = wire()

    reply = connection.call(request(b"", length=length))

    assert (reply.status, reply.result) == (413, {"result": -5})
    assert reply.detail == "The body may have at most 2097152 bytes."
    assert connection.is_closed()
    assert not stored.exists()


def test_a_client_that_sends_too_much_gets_to_read_why(server: Server, stored: Any) -> None:
    headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    for _ in range(5):
        response = httpx.post(f"{server.url}{SET}", content=b" " * 3 * MIB, headers=headers, timeout=10)

        assert (response.status_code, response.json()) == (413, {"result": -5})
    assert not stored.exists()


def test_a_client_may_ask_whether_to_send(wire: Any, stored: Any) -> None:
    connection = wire()

    assert connection.call(request(b"", "Expect: 100-continue", length=len(OBJECT))).status == 100
    assert connection.call(OBJECT).body == OK
    assert stored.get().value == "dark"


def test_a_client_that_asks_to_send_too_much_is_told_so(wire: Any, stored: Any) -> None:
    reply = wire().call(request(b"", "Expect: 100-continue", length=2 * MIB + 1))

    assert (reply.status, reply.result) == (413, {"result": -5})
    assert not stored.exists()


# --- Several requests on a connection -------------------------------------------------------------


def test_a_connection_lives_through_failures(wire: Any, stored: Any) -> None:
    connection = wire()

    for sent, status, answer in [
        (request(), 200, {"request_id": 7, "result": 0}),
        (request(bearer="x"), 200, {"request_id": 7, "result": -1}),
        (request(bearer=None), 200, {"request_id": 7, "result": -1}),
        (request(b"{"), 200, {"result": -5}),
        (request(b""), 200, {"result": -5}),
        (request(content_type="text/plain"), 200, {"request_id": 7, "result": -5}),
        (request(method="PUT"), 405, {"result": -5}),
        (request(path="/user-data/get"), 404, {"result": -5}),
        (request(b'{"request_id": 8, "value_key": "", "value_data": ""}'), 200, {"request_id": 8, "result": -7}),
        (request(bearer=token(azp="other-app")), 200, {"request_id": 7, "result": -6}),
        (request(), 200, {"request_id": 7, "result": 0}),
    ]:
        reply = connection.call(sent)
        assert (reply.status, reply.result) == (status, answer)

    assert (stored.get().value, stored.get().revision) == ("dark", 2)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"method": "PUT"}, 405, id="a method that is not served"),
        pytest.param({"path": "/user-data/nothing"}, 404, id="a path that is not served"),
        pytest.param({}, 413, id="too large"),
    ],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_left_unread_is_never_the_next_request(
    wire: Any, stored: Any, change: dict[str, Any], status: int, in_chunks: bool
) -> None:
    hidden = request(b'{"value_key": "hidden", "value_data": "v"}')
    body = hidden * (3 * MIB // len(hidden))
    sent = chunked(**change) + chunk(body) + b"0\r\n\r\n" if in_chunks else request(body, **change)
    connection = wire()

    reply = connection.call(sent, request())

    assert (reply.status, reply.result) == (status, {"result": -5})
    if not connection.is_closed():
        connection.close()
        connection = wire()
        assert connection.call(sent).status == status
        assert connection.call(request()).body == OK
    assert not stored.filter(key="hidden").exists()


def test_requests_sent_at_once_are_answered_in_order(wire: Any, stored: Any) -> None:
    connection = wire()
    bodies = [b'{"request_id": %d, "value_key": "k%d", "value_data": "v"}' % (n, n % 5) for n in range(40)]
    bodies[13] = b'{"request_id": 13, "value_key": "\\n", "value_data": "v"}'

    connection.send(b"".join(map(request, bodies)))

    answers = [connection.reply().result for _ in bodies]
    assert answers == [{"request_id": n, "result": -7 if n == 13 else 0} for n in range(40)]
    assert stored.count() == 5
    assert sum(stored.values_list("revision", flat=True)) == 39


def test_close_is_honoured(wire: Any, stored: Any) -> None:
    connection = wire()

    assert connection.call(request(OBJECT, "Connection: close")).body == OK
    assert connection.is_closed()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_answers_what_is_under_way_and_takes_nothing_new(
    start_server: Callable[..., Server], database_url: str, stored: Any, how: signal.Signals
) -> None:
    server = start_server(wait="/readyz", DATABASE_URL=database_url, WORKERS="2")
    busy, idle = [Wire(server.port) for _ in range(6)], Wire(server.port)
    assert idle.call(request()).body == OK
    for connection in busy:
        connection.send(request()[:-1])
    time.sleep(0.2)

    server.process.send_signal(how)
    time.sleep(1)

    with pytest.raises(ConnectionRefusedError):
        Wire(server.port)
    assert idle.is_closed()
    for connection in busy:
        reply = connection.call(OBJECT[-1:])
        assert (reply.body, reply.headers["connection"]) == (OK, "close")
    for connection in (idle, *busy):
        connection.close()
    assert server.process.wait(5) == 0
    assert stored.get().revision == 7


# --- Method and path ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "post", "CONNECT"])
def test_another_method_is_refused(wire: Any, stored: Any, method: str) -> None:
    reply = wire().call(request(method=method))

    assert (reply.status, reply.result) == (405, {"result": -5})
    assert reply.headers["allow"] == "POST"
    assert not stored.exists()


def test_head_is_refused_without_a_body(wire: Any, stored: Any) -> None:
    connection = wire()
    connection.send(request(None, method="HEAD"))

    reply = connection.reply("HEAD")

    assert (reply.status, reply.headers["allow"], reply.body) == (405, "POST", b"")
    assert connection.call(request()).body == OK


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/user-data/set/",
        "//user-data/set",
        "/user-data//set",
        "/user-data/./set",
        "/user-data/x/../set",
        "/user-data/SET",
        "/user-data/set%20",
        "/user-data/set%00",
        "/user-data/set%0A",
        "/user-data/set;x=1",
        "/user-data/%ff%fe",
        "/user-data/" + "a" * 4000,
        "*",
    ],
)
def test_another_path_is_unknown(wire: Any, stored: Any, path: str) -> None:
    reply = wire().call(request(path=path))

    assert (reply.status, reply.result) == (404, {"result": -5})
    assert "location" not in reply.headers
    assert not stored.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/user-data/set?",
        "/user-data/set?request_id=9&value_key=other&access_token=x",
        "/%75ser-data/set",
        "/user-data%2Fset",
        "http://elsewhere.example/user-data/set",
    ],
)
def test_the_path_is_read_decoded_and_without_its_query(wire: Any, stored: Any, path: str) -> None:
    assert wire().call(request(path=path)).body == OK
    assert stored.get().key == "theme"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"path": "/user data/set"}, 400, id="a space in the path"),
        pytest.param({"path": "/" + "a" * 70_000}, 414, id="an endless path"),
        pytest.param({"version": "HTTP/3.7"}, 400, id="a version that does not exist"),
        pytest.param({"method": "PO ST"}, 400, id="a space in the method"),
    ],
)
def test_what_is_no_request_is_refused(wire: Any, stored: Any, change: dict[str, str], status: int) -> None:
    connection = wire()

    reply = connection.call(request(**change))

    assert (reply.status, reply.body) == (status, b"")
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize(
    "greeting",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), id="HTTP/2"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"\r\n\r\nnonsense\r\n\r\n", id="nonsense"),
    ],
)
def test_another_protocol_is_refused(wire: Any, workers: None, greeting: bytes) -> None:
    connection = wire()
    connection.send(greeting)

    assert connection.received.readline() in (b"", b"HTTP/1.1 400 Bad Request\r\n")


# --- The body's form ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/html",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/ld+json",
        "application/json, text/plain",
        "application/json; charset=\u00fctf-8",
    ],
)
def test_another_media_type_is_refused(wire: Any, stored: Any, content_type: str | None) -> None:
    reply = wire().call(request(content_type=content_type))

    assert (reply.status, reply.result) == (200, {"request_id": 7, "result": -5})
    assert reply.detail.startswith("Content-Type must")
    assert not stored.exists()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbf" + OBJECT, id="a byte order mark"),
        pytest.param(OBJECT.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(OBJECT.decode().encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(OBJECT.decode().encode("utf-32"), id="UTF-32"),
        pytest.param(OBJECT.replace(b"dark", b"\xff"), id="a byte that UTF-8 does not have"),
        pytest.param(OBJECT.replace(b"dark", b"\xed\xa0\x80"), id="a surrogate in UTF-8"),
        pytest.param(OBJECT.replace(b"dark", b"\xc0\x80"), id="an overlong form"),
        pytest.param(OBJECT.replace(b"dark", b"\x00"), id="a bare NUL"),
        pytest.param(OBJECT + b"\x00", id="a trailing NUL"),
        pytest.param(OBJECT * 2, id="two objects"),
        pytest.param(OBJECT[:-1], id="not closed"),
        pytest.param(OBJECT.replace(b'"', b"'"), id="single quotes"),
        pytest.param(with_member(b"x", b"Infinity"), id="a constant that JSON does not have"),
        pytest.param(b"[" + OBJECT + b"]", id="in an array"),
        pytest.param(json.dumps(OBJECT.decode()).encode(), id="JSON in a string"),
    ],
)
def test_another_form_of_body_is_refused(wire: Any, stored: Any, body: bytes) -> None:
    reply = wire().call(request(body))

    assert (reply.status, reply.result) == (200, {"result": -5})
    assert reply.detail.startswith("The body must")
    assert not stored.exists()


@pytest.mark.parametrize("levels", [1_000, 10_000, 100_000, 260_000])
def test_deep_nesting_harms_no_worker(wire: Any, stored: Any, workers: None, levels: int) -> None:
    """How deep is too deep depends on Python's version; 100,000 levels are for every one."""
    connection = wire()
    for number, body in enumerate(
        [
            b"[" * levels,
            b'{"":' * levels,
            with_member(b"x", b"[" * levels + b"]" * levels),
            with_member(b"x", b'{"a":' * levels + b"0" + b"}" * levels),
            with_member(b"x", b'[{"":' * (levels // 2) + b"0" + b"}]" * (levels // 2)),
        ]
    ):
        reply = connection.call(request(body))

        if levels < 100_000 and number >= 2 and reply.body == OK:
            stored.all().delete()
        else:
            assert (reply.status, reply.result) == (200, {"result": -5})
            assert reply.detail in ("The body is nested too deeply.", "The body must be JSON.")
            assert levels < 100_000 or reply.detail == "The body is nested too deeply."
        assert not stored.exists()


@pytest.mark.parametrize("digits", [20, 6_000, 1_000_000])
def test_a_huge_number_harms_nobody(wire: Any, stored: Any, workers: None, digits: int) -> None:
    connection = wire()
    number = b"1" * digits
    for member in (number, b"-" + number, b"1." + number, b"1e" + number, b"-1E-" + number):
        started = time.monotonic()
        assert connection.call(request(with_member(b"x", member))).body == OK
        assert time.monotonic() - started < 2
    assert stored.get().revision == 5

    reply = connection.call(request(with_member(b"request_id", number)))

    assert (reply.status, reply.result) == (200, {"result": -5})
    assert reply.detail == "request_id must be an integer within int64."
    assert stored.get().revision == 5


def test_the_last_of_duplicate_members_counts(wire: Any, stored: Any) -> None:
    body = b'{"request_id": 1, "value_key": "a", "value_data": "x", "value_key": "b", "request_id": 2}'

    assert wire().call(request(body)).result == {"request_id": 2, "result": 0}
    assert (stored.get().key, stored.get().value) == ("b", "x")


# --- Headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "challenge"),
    [
        pytest.param([], "Bearer", id="none"),
        pytest.param(["Authorization: "], "Bearer", id="empty"),
        pytest.param(["Authorization: Bearer"], 'Bearer error="invalid_token"', id="scheme alone"),
        pytest.param(["Authorization: Bearer  "], 'Bearer error="invalid_token"', id="scheme and spaces"),
        pytest.param(["Authorization: Basic dTpw"], "Bearer", id="another scheme"),
        pytest.param(["Authorization: Bearer \u00e9\u20ac"], "Bearer", id="not ASCII"),
        pytest.param([b"Authorization: Bearer a.b.\xff\xfe"], "Bearer", id="not UTF-8"),
        pytest.param(["Authorization: Bearer " + "a" * 20_000], 'Bearer error="invalid_token"', id="20 KB"),
        pytest.param(["Authorization: Bearer a.b.c"], 'Bearer error="invalid_token"', id="no JWT"),
    ],
)
def test_a_header_without_a_token_is_refused(wire: Any, stored: Any, lines: list[str | bytes], challenge: str) -> None:
    reply = wire().call(request(OBJECT, *lines, bearer=None))

    assert (reply.status, reply.result) == (200, {"request_id": 7, "result": -1})
    assert reply.headers["www-authenticate"].startswith(challenge)
    assert reply.detail
    assert not stored.exists()


def test_two_authorization_headers_are_refused(wire: Any, stored: Any) -> None:
    for second in (token(), "x"):
        for lines in ((token(), second), (second, token())):
            sent = request(OBJECT, *(f"Authorization: Bearer {bearer}" for bearer in lines), bearer=None)
            reply = wire().call(sent)

            assert (reply.status, reply.result) == (200, {"request_id": 7, "result": -1})
    assert not stored.exists()


@pytest.mark.parametrize("where", ["?access_token={}", "?Authorization=Bearer%20{}", "?token={}"])
def test_a_token_in_the_query_does_not_count(wire: Any, stored: Any, where: str) -> None:
    reply = wire().call(request(path=SET + where.format(token()), bearer=None))

    assert (reply.status, reply.result) == (200, {"request_id": 7, "result": -1})
    assert not stored.exists()


@pytest.mark.parametrize("line", ["authorization: bearer {}", "AUTHORIZATION: BEARER {}", "AuThOrIzAtIoN:bEaReR   {}"])
def test_case_does_not_matter_in_names_and_schemes(wire: Any, stored: Any, line: str) -> None:
    body = OBJECT
    sent = (
        f"POST {SET} HTTP/1.1\r\nhOST: x\r\ncontent-TYPE: APPLICATION/json\r\nCONTENT-length: {len(body)}\r\n"
        f"{line.format(token())}\r\n\r\n"
    )

    assert wire().call(sent.encode() + body).body == OK
    assert stored.get().value == "dark"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"X-Name: caf\xc3\xa9 \xff"], id="bytes that are not ASCII"),
        pytest.param([b"X-Request-Id: \xff\xfe"], id="a trace id that is not ASCII"),
        pytest.param(["X-Request-Id: " + "a" * 5000], id="an endless trace id"),
        pytest.param(["Cookie: sessionid=x; csrftoken=y; =; ;;\u00e9"], id="cookies"),
        pytest.param(["Origin: http://["], id="an origin that is no URL"),
        pytest.param(["Accept: text/html"], id="asks for a page"),
        pytest.param(
            ["Accept: application/xml;q=nonsense", "Accept-Encoding: gzip, br"], id="asks for what is not there"
        ),
        pytest.param(["X-HTTP-Method-Override: DELETE", "X-Forwarded-Host: elsewhere.example"], id="overrides"),
        pytest.param(["Range: bytes=0-1", "If-None-Match: *", "If-Modified-Since: yesterday"], id="conditions"),
        pytest.param([f"X-{n}: v" for n in range(80)], id="80 headers"),
    ],
)
def test_other_headers_do_not_matter(wire: Any, stored: Any, lines: list[str | bytes]) -> None:
    reply = wire().call(request(OBJECT, *lines))

    assert (reply.status, reply.body) == (200, OK)
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    assert "set-cookie" not in reply.headers
    assert stored.get().value == "dark"


def test_endless_headers_are_refused(wire: Any, stored: Any, workers: None) -> None:
    connection = wire()

    reply = connection.call(request(OBJECT, bearer="a" * MIB))

    assert (reply.status, reply.body) == (431, b"")
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize("host", [None, "", "elsewhere.example", "a,b", "[", "\u00e9", "127.0.0.1:99999"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_the_api_answers_to_any_host(wire: Any, stored: Any, version: str, host: str | None) -> None:
    connection = wire()

    reply = connection.call(request(host=host, version=version))

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().value == "dark"
    assert version == "HTTP/1.1" or connection.is_closed()


def test_a_web_page_may_ask_first(wire: Any, stored: Any) -> None:
    preflight = request(
        None,
        "Origin: https://page.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
        method="OPTIONS",
        bearer=None,
        content_type=None,
    )
    connection = wire()

    allowed = connection.call(preflight)

    assert (allowed.status, allowed.body) == (200, b"")
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert allowed.headers["access-control-allow-methods"] == "POST"
    assert allowed.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "access-control-allow-credentials" not in allowed.headers
    assert not stored.exists()

    reply = connection.call(request(OBJECT, "Origin: https://page.example"))

    assert (reply.status, reply.body) == (200, OK)
    assert reply.headers["access-control-allow-origin"] == "*"
    assert set(reply.headers["access-control-expose-headers"].split(", ")) >= {"X-Result-Detail", "Retry-After"}


@pytest.mark.parametrize(
    "change", [{"bearer": "x"}, {"method": "PUT"}, {"path": "/user-data/x"}, {"length": 3 * MIB, "body": b""}]
)
def test_a_web_page_may_read_failures_too(wire: Any, change: dict[str, Any]) -> None:
    body = change.get("body", OBJECT)
    others = {name: value for name, value in change.items() if name != "body"}

    reply = wire().call(request(body, "Origin: https://page.example", **others))

    assert reply.headers["access-control-allow-origin"] == "*"


# --- Slow clients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "many",
    [
        pytest.param(12, id="a few"),
        pytest.param(100, id="many"),
        pytest.param(600, id="hundreds"),
    ],
)
def test_slow_senders_do_not_stop_others(server: Server, wire: Any, stored: Any, many: int) -> None:
    slow = [wire() for _ in range(many)]
    for number, connection in enumerate(slow):
        connection.send(chunked() if number % 20 == 1 else request(b"", length=5000, bearer=None))
    enough = threading.Event()

    def trickle() -> None:
        while not enough.wait(0.3):
            for number, connection in enumerate(slow):
                connection.send(chunk(b" ") if number % 20 == 1 else b" ")

    sender = threading.Thread(target=trickle)
    sender.start()
    try:
        time.sleep(0.5)
        for number in range(10):
            started = time.monotonic()
            response = server.set({"request_id": number, "value_key": "k", "value_data": "v"})
            assert response.json() == {"request_id": number, "result": 0}
            assert time.monotonic() - started < 2
    finally:
        enough.set()
        sender.join()
    assert stored.get().revision == 10


def test_large_bodies_at_once_are_bounded(server: Server, wire: Any, stored: Any) -> None:
    """Two workers hold 64 each; who comes on top of them is told so at once, and small bodies pass."""
    slow = [wire() for _ in range(140)]
    for connection in slow:
        connection.send(request(b"{", length=MIB))
    told = []
    for connection in slow:
        connection.socket.settimeout(0.05)
        try:
            told.append(connection.reply())
        except TimeoutError:
            """It is let in."""

    assert 12 <= len(told) < 140
    for reply in told:
        assert (reply.status, reply.result) == (429, {"result": -4})
        assert reply.headers["retry-after"] == "1"
        assert reply.detail == "Too many large bodies are on their way; send again later."
    assert server.set().json() == {"result": 0}
    assert stored.get().revision == 1


def test_headers_that_never_end_end_the_connection(unfinished: Future[float]) -> None:
    assert 8 < unfinished.result() < 14
