"""Methods, paths and headers on the wire of the production server, and several requests on one connection."""

import re
from typing import Any

import pytest

from tests.conftest import SET, Server
from tests.server.wire import OBJECT, OK, Wire, request
from tests.tokens import token

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
        (request(path="/user-data/nothing"), 404, {"result": -5}),
        (request(b'{"request_id": 8, "value_key": "", "value_data": ""}'), 200, {"request_id": 8, "result": -7}),
        (request(bearer=token(azp="other-app")), 200, {"request_id": 7, "result": -6}),
        (request(), 200, {"request_id": 7, "result": 0}),
    ]:
        reply = connection.call(sent)
        assert (reply.status, reply.result) == (status, answer)

    assert (stored.get().value, stored.get().revision) == ("dark", 2)


def test_requests_sent_at_once_are_answered_in_order(wire: Any, stored: Any) -> None:
    connection = wire()
    bodies = [b'{"request_id": %d, "value_key": "k%d", "value_data": "v"}' % (n, n % 5) for n in range(40)]
    bodies[13] = b'{"request_id": 13, "value_key": "\\n", "value_data": "v"}'

    connection.send(b"".join(map(request, bodies)))

    answers = [connection.reply().result for _ in bodies]
    assert answers == [{"request_id": n, "result": -7 if n == 13 else 0} for n in range(40)]
    assert stored.count() == 5
    assert sum(stored.values_list("revision", flat=True)) == 39


@pytest.mark.parametrize(
    ("version", "lines"),
    [("HTTP/1.1", ["Connection: close"]), ("HTTP/1.0", []), ("HTTP/1.0", ["Connection: keep-alive"])],
)
def test_a_connection_ends_where_it_should(wire: Any, stored: Any, version: str, lines: list[str]) -> None:
    connection = wire()

    reply = connection.call(request(OBJECT, *lines, version=version))

    assert (reply.body, reply.headers["connection"]) == (OK, "close")
    assert connection.is_closed()
    assert stored.get().value == "dark"


# --- Method, path and version ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PURGE"])
def test_another_method_is_refused(wire: Any, stored: Any, method: str) -> None:
    reply = wire().call(request(method=method))

    assert (reply.status, reply.result, reply.headers["allow"]) == (405, {"result": -5}, "POST")
    assert not stored.exists()


@pytest.mark.parametrize("method", ["BREW", "post", "Post", "PO ST", "PRI", "\u00dc", ""])
def test_a_method_that_the_parser_does_not_know_is_refused(wire: Any, stored: Any, method: str) -> None:
    connection = wire()

    assert connection.call(request(method=method)).status == 400
    assert connection.is_closed()
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


@pytest.mark.parametrize("path", ["/user-data/set?%ff=%", b"/user-data/set?\xff", b"/user-data/set?\xc3\xa9"])
def test_a_query_that_is_no_text_harms_nothing(wire: Any, path: str | bytes) -> None:
    head, _, rest = request(path="PATH").partition(b"PATH")

    reply = wire().call(head + (path.encode() if isinstance(path, str) else path) + rest)

    assert reply.status in (200, 400)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"path": "/user data/set"}, id="a space in the path"),
        pytest.param({"path": "/" + "a" * 70_000}, id="an endless path"),
        pytest.param({"path": "user-data/set"}, id="a path without a slash"),
        pytest.param({"path": ""}, id="no path"),
        pytest.param({"path": "http://elsewhere.example"}, id="a URL without a path"),
        pytest.param({"version": "HTTP/3.7"}, id="a version that does not exist"),
        pytest.param({"version": "HTTP/1.2"}, id="a version between two"),
    ],
)
def test_what_is_no_request_is_refused(wire: Any, stored: Any, change: dict[str, Any]) -> None:
    connection = wire()

    assert connection.call(request(**change)).status == 400
    assert connection.is_closed()
    assert not stored.exists()


@pytest.mark.parametrize(
    "greeting",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), id="HTTP/2"),
        pytest.param(bytes(100), id="zeros"),
        pytest.param(b"\r\n\r\nnonsense\r\n\r\n", id="nonsense"),
    ],
)
def test_another_protocol_is_refused(wire: Any, same_workers: None, greeting: bytes) -> None:
    connection = wire()

    assert connection.call(greeting).status == 400
    assert connection.is_closed()


# --- Headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "challenge"),
    [
        pytest.param([], "Bearer", id="none"),
        pytest.param(["Authorization: "], "Bearer", id="empty"),
        pytest.param(["Authorization: Bearer"], 'Bearer error="invalid_token"', id="scheme alone"),
        pytest.param(["Authorization: Bearer  "], 'Bearer error="invalid_token"', id="scheme and spaces"),
        pytest.param(["Authorization: Basic dTpw"], "Bearer", id="another scheme"),
        pytest.param(["Authorization: Bearer \u00e9\u20ac"], 'Bearer error="invalid_token"', id="not ASCII"),
        pytest.param([b"Authorization: Bearer a.b.\xff\xfe"], 'Bearer error="invalid_token"', id="not UTF-8"),
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
        for bearers in ((token(), second), (second, token())):
            sent = request(OBJECT, *(f"Authorization: Bearer {bearer}" for bearer in bearers), bearer=None)
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
    head = f"POST {SET} HTTP/1.1\r\nhOST: x\r\ncontent-TYPE: APPLICATION/json\r\nCONTENT-length: {len(OBJECT)}\r\n"

    assert wire().call(f"{head}{line.format(token())}\r\n\r\n".encode() + OBJECT).body == OK
    assert stored.get().value == "dark"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"X-Name: caf\xc3\xa9 \xff"], id="bytes that are not ASCII"),
        pytest.param([b"X-Request-Id: \xff\xfe"], id="a trace id that is not ASCII"),
        pytest.param(["X-Request-Id: " + "a" * 5000], id="an endless trace id"),
        pytest.param(["X-Request_Id: spoofed"], id="an underscore in place of a hyphen"),
        pytest.param(["Content_Length: 3", "Content_Type: text/plain"], id="underscores in what frames a body"),
        pytest.param(["Cookie: sessionid=x; csrftoken=y; =; ;;\u00e9"], id="cookies"),
        pytest.param(["Origin: http://["], id="an origin that is no URL"),
        pytest.param(["Accept: text/html"], id="asks for a page"),
        pytest.param(["Accept: application/xml;q=nonsense", "Accept-Encoding: gzip, br"], id="asks for other forms"),
        pytest.param(["X-HTTP-Method-Override: DELETE", "X-Forwarded-Host: elsewhere.example"], id="overrides"),
        pytest.param(["Range: bytes=0-1", "If-None-Match: *", "If-Modified-Since: yesterday"], id="conditions"),
        pytest.param(["Expect: 200-ok"], id="expects what HTTP does not know"),
        pytest.param([f"X-{n}: v" for n in range(80)], id="80 headers"),
    ],
)
def test_other_headers_do_not_matter(wire: Any, stored: Any, lines: list[str | bytes]) -> None:
    reply = wire().call(request(OBJECT, *lines))

    assert (reply.status, reply.body) == (200, OK)
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    assert "set-cookie" not in reply.headers
    assert stored.get().value == "dark"


@pytest.mark.parametrize(
    "line",
    [b"X Y: 1", b"no colon", b"X: 1\r\n folded", b"X: a\0b", b"X: a\rb", b": v"],
    ids=["a space in a name", "no colon", "a folded line", "a NUL", "a bare CR", "no name"],
)
def test_a_malformed_header_is_refused(wire: Any, stored: Any, line: bytes) -> None:
    connection = wire()

    assert connection.call(request(OBJECT, line)).status == 400
    assert connection.is_closed()
    assert not stored.exists()


def test_a_large_header_harms_nobody(wire: Any, stored: Any, same_workers: None) -> None:
    """uvicorn has no bound for headers; a proxy has to have one."""
    reply = wire().call(request(OBJECT, bearer="a" * 2**20))

    assert (reply.status, reply.result) == (200, {"request_id": 7, "result": -1})
    assert not stored.exists()


@pytest.mark.parametrize("host", [None, "", "elsewhere.example", "a,b", "[", "\u00e9", "127.0.0.1:99999"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_the_api_answers_to_any_host(wire: Any, stored: Any, version: str, host: str | None) -> None:
    reply = wire().call(request(host=host, version=version))

    assert (reply.status, reply.body) == (200, OK)
    assert stored.get().value == "dark"


def test_a_web_page_may_ask_first(wire: Any, stored: Any) -> None:
    asks = [
        "Origin: https://page.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
    ]
    connection = wire()

    allowed = connection.call(request(None, *asks, method="OPTIONS", bearer=None, content_type=None))

    assert (allowed.status, allowed.body) == (200, b"")
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert not stored.exists()
    reply = connection.call(request(OBJECT, "Origin: https://page.example"))
    assert (reply.status, reply.body, reply.headers["access-control-allow-origin"]) == (200, OK, "*")


@pytest.mark.parametrize(
    "change",
    [{"bearer": "x"}, {"method": "PUT"}, {"path": "/user-data/x"}, {"length": 3 * 2**20, "body": b""}],
    ids=["no token", "another method", "another path", "too large"],
)
def test_a_web_page_may_read_failures_too(wire: Any, change: dict[str, Any]) -> None:
    body = change.get("body", OBJECT)
    others = {name: value for name, value in change.items() if name != "body"}

    reply = wire().call(request(body, "Origin: https://page.example", **others))

    assert reply.headers["access-control-allow-origin"] == "*"


def test_every_answer_of_the_api_is_kept_from_frames_and_guesses(server: Server) -> None:
    for sent in (request(), request(method="PUT"), request(path="/user-data/nothing"), request(b"", length=2**30)):
        connection = Wire(server.port)
        reply = connection.call(sent)
        connection.close()
        assert (reply.headers["x-content-type-options"], reply.headers["x-frame-options"]) == ("nosniff", "DENY")
