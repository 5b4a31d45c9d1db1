"""How a request's body may come, on the wire of the production server."""

import json
import time
from typing import Any

import httpx2 as httpx
import pytest

from tests.conftest import SET, Server
from tests.server.wire import MIB, OBJECT, OK, chunk, chunked, request
from tests.tokens import token

TOO_LARGE = "The body may have at most 2097152 bytes."
UPGRADE = [
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
]


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
    assert connection.call(request()).body == OK


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_at_the_limit_is_read_whole(wire: Any, stored: Any, in_chunks: bool) -> None:
    body = OBJECT.ljust(2 * MIB)
    chunks = [chunk(body[start : start + 65_536]) for start in range(0, 2 * MIB, 65_536)]

    reply = wire().call(*([chunked(), *chunks, b"0\r\n\r\n"] if in_chunks else [request(body)]))

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().revision == 1


def test_a_value_at_its_limit_fits_in_its_longest_form(wire: Any, stored: Any) -> None:
    """JSON's escapes swell a value sixfold."""
    connection = wire()

    over = connection.call(request(b'{"value_key": "k", "value_data": "%s"}' % (b"\\u0061" * 262_145)))
    fits = connection.call(request(b'{"value_key": "k", "value_data": "%s"}' % (b"\\u0061" * 262_144)))

    assert (over.result, over.detail) == ({"result": -5}, "value_data may have at most 262144 bytes in UTF-8.")
    assert fits.result == {"result": 0}
    assert stored.get().value == "a" * 262_144


@pytest.mark.parametrize(
    ("path", "status"),
    [(SET, 413), ("/user-data/by-email/set", 200), ("/admin/login/", 413), ("/docs", 413)],
)
@pytest.mark.parametrize("length", [2 * MIB + 1, 2**62, 2**64 - 1])
def test_a_body_over_the_limit_is_refused_before_it_comes(
    wire: Any, stored: Any, path: str, status: int, length: int
) -> None:
    reply = wire().call(request(b"", path=path, length=length))

    assert (reply.status, reply.result, reply.detail) == (status, {"result": -5}, TOO_LARGE)
    assert not stored.exists()


@pytest.mark.parametrize(("path", "status"), [(SET, 413), ("/user-data/by-email/set", 200), ("/admin/login/", 413)])
def test_a_chunked_body_over_the_limit_is_refused_before_its_end(
    wire: Any, stored: Any, path: str, status: int
) -> None:
    reply = wire().call(chunked(path=path), chunk(OBJECT.ljust(MIB)), chunk(b" " * MIB), chunk(b" "))  # no last chunk

    assert (reply.status, reply.result, reply.detail) == (status, {"result": -5}, TOO_LARGE)
    assert not stored.exists()


def test_a_client_that_sends_too_much_gets_to_read_why(server: Server, stored: Any) -> None:
    headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    with httpx.Client(timeout=10) as client:
        for _ in range(5):
            response = client.post(f"{server.url}{SET}", content=b" " * 3 * MIB, headers=headers)

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


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_request_without_a_length_has_no_body(wire: Any, stored: Any, version: str) -> None:
    reply = wire().call(request(None, version=version))

    assert (reply.status, reply.result, reply.detail) == (200, {"result": -5}, "value_key is required.")
    assert not stored.exists()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([request(length=len(OBJECT) + 1)], id="a byte is missing"),
        pytest.param([request(length=len(OBJECT) + 500)], id="500 bytes are missing"),
        pytest.param([chunked(), b"3d\r\n", OBJECT[:-1]], id="within a chunk"),
        pytest.param([chunked(), chunk(OBJECT)], id="the last chunk is missing"),
        pytest.param([b"POST /user"], id="within the head"),
    ],
)
@pytest.mark.parametrize("abruptly", [False, True])
def test_a_body_cut_short_is_not_stored(
    server: Server, wire: Any, stored: Any, same_workers: None, parts: list[bytes], abruptly: bool
) -> None:
    connection = wire()
    connection.send(*parts)

    if abruptly:
        connection.close()
    else:
        connection.end()
        assert connection.is_closed()

    assert server.set({"value_key": "other", "value_data": ""}).json() == {"result": 0}
    assert [row.key for row in stored.all()] == ["other"]


def test_a_length_below_the_body_s_stores_nothing(wire: Any, stored: Any) -> None:
    connection = wire()

    reply = connection.call(request(length=len(OBJECT) - 1))

    # The byte left over begins no request, which the server may say before it answers the first.
    assert reply.status == 400 or (reply.status, reply.result) == (200, {"result": -5})
    assert not stored.exists()


@pytest.mark.parametrize("chunks", [b"xyz\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n{}"])
def test_malformed_chunks_are_no_body(wire: Any, stored: Any, chunks: bytes) -> None:
    connection = wire()

    assert connection.call(chunked(), chunks).status == 400
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize(
    "length", ["abc", "-1", "+61", "0x3d", "1e1", "61, 62", "18446744073709551616", "9" * 5_000, "9" * 100_000]
)
def test_a_length_that_is_no_number_is_refused(wire: Any, stored: Any, length: str) -> None:
    connection = wire()

    assert connection.call(request(OBJECT, length=length)).status == 400
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize(("path", "status"), [(SET, 200), ("/admin/login/", 400), ("/docs", 400)])
def test_a_length_with_thousands_of_zeros_is_refused(wire: Any, stored: Any, path: str, status: int) -> None:
    lines = ["Cookie: csrftoken=abcdefghijklmnopqrstuvwxyzABCDEF"]

    reply = wire().call(request(OBJECT, *lines, path=path, length="0" * 5_000 + "61"))

    assert (reply.status, reply.result) == (status, {"result": -5})
    assert not stored.exists()


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        pytest.param(["Content-Length: 5"], len(OBJECT), id="two lengths"),
        pytest.param(["Transfer-Encoding: chunked"], 0, id="chunks and no length"),
        pytest.param(["Transfer-Encoding: chunked"], 3, id="chunks and a length within them"),
        pytest.param(["Transfer-Encoding: chunked"], len(OBJECT), id="chunks and their length"),
        pytest.param(["Transfer-Encoding: identity"], len(OBJECT), id="an encoding that does not end"),
        pytest.param(["Transfer-Encoding: chunked, chunked"], 0, id="chunks in chunks"),
    ],
)
def test_two_framings_of_a_body_are_refused(wire: Any, stored: Any, lines: list[str], length: int) -> None:
    """RFC 9112 §6.3: they look like request smuggling."""
    connection = wire()

    reply = connection.call(request(b"", *lines, length=length), chunk(OBJECT), b"0\r\n\r\n")

    assert reply.status == 400
    assert connection.is_closed()
    assert not stored.exists()


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
    assert connection.reply().body == OK
    assert stored.get().key == "theme"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_request_for_another_protocol_is_refused_with_its_connection(
    wire: Any, stored: Any, late: bool, in_chunks: bool, protocol: str
) -> None:
    """Java's HttpClient asks for HTTP/2 with the body of its POST, unless told otherwise.

    uvicorn's parser drops that body, and would take what comes of it later for a request.
    """
    lines = [line.replace("h2c", protocol) for line in UPGRADE]
    hidden = request(b'{"value_key": "hidden", "value_data": "v"}')
    head = chunked(*lines) if in_chunks else request(b"", *lines, length=len(hidden))
    body = chunk(hidden) + b"0\r\n\r\n" if in_chunks else hidden
    connection = wire()

    if late:
        connection.send(head)
        reply = connection.reply()
        connection.send(body)
    else:
        reply = connection.call(head + body)

    assert (reply.status, reply.result["result"]) == (200, -5)
    assert reply.detail.startswith("The body ended early")
    assert reply.headers["connection"] == "close"
    assert connection.is_closed()
    assert not stored.exists()


def test_a_request_for_another_protocol_without_a_body_is_answered(wire: Any) -> None:
    reply = wire().call(request(None, *UPGRADE, method="GET", path="/livez"))

    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})


@pytest.mark.parametrize("digits", [20, 6_000, 1_000_000])
def test_a_huge_number_takes_no_time(wire: Any, stored: Any, same_workers: None, digits: int) -> None:
    number = b"1" * digits
    connection = wire()
    started = time.monotonic()

    for member in (number, b"-" + number, b"1." + number, b"1e" + number, b"-1E-" + number):
        assert connection.call(request(OBJECT[:-1] + b', "x": %s}' % member)).body == OK

    assert time.monotonic() - started < 5
    assert stored.get().revision == 5
    reply = connection.call(request(OBJECT[:-1] + b', "request_id": %s}' % number))
    assert (reply.result, reply.detail) == ({"result": -5}, "request_id must be an integer within int64.")


@pytest.mark.parametrize("levels", [1_000, 100_000, 260_000])
def test_deep_nesting_harms_no_worker(wire: Any, stored: Any, same_workers: None, levels: int) -> None:
    """How deep is too deep depends on Python's version; 100,000 levels are for every one."""
    connection = wire()
    for body in (
        b"[" * levels,
        b'{"":' * levels,
        OBJECT[:-1] + b', "x": ' + b"[" * levels + b"]" * levels + b"}",
        OBJECT[:-1] + b', "x": ' + b'{"a":' * levels + b"0" + b"}" * levels + b"}",
    ):
        reply = connection.call(request(body))

        assert reply.status == 200
        if levels >= 100_000:
            assert (reply.result, reply.detail) == ({"result": -5}, "The body is nested too deeply.")
    assert levels < 100_000 or not stored.exists()
