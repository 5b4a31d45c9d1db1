"""A connection's bytes → requests (RFC 9112). httptools parses; here are the limits, and what it does not know."""

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote_to_bytes

import httptools

from hypersecureid.http.exchange import Environ, Exchange, Reading

MAX_HEAD_BYTES = 65_536  # of names and values, with 32 for each pair (as RFC 9113, section 6.5.2, counts them)
MAX_FRAMING = 16  # bytes for each of a body, with as many again as a head may have
CACHED = 512
CACHED_BYTES = 64

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") [^ ]+ HTTP/1\.[01]\r?")
_BEGINNING = re.compile(_TOKEN + rb"( .*)?")


class Taker(Reading, Protocol):
    """Who answers."""

    def take(self, exchange: Exchange) -> None: ...
    def refuse(self, status: HTTPStatus) -> None:
        """Say that something was no request, nor can anything be after it."""


class RequestReader:
    """Finds the requests of one connection, one after another."""

    def __init__(self, taker: Taker, basis: Environ) -> None:
        """`basis`: what the environments of all requests share."""
        self.ended = False
        """No other request is taken."""
        self.receiving: Exchange | None = None
        """The request whose body is coming in."""
        self._taker = taker
        self._basis = basis
        self._parser = httptools.HttpRequestParser(self)
        self._held = b""
        self._in_head = False
        self._method = ""
        self._environ: Environ = {}
        self._url = b""
        self._head_bytes = 0
        self._framing_bytes = 0

    def is_between_requests(self) -> bool:
        return not (self._in_head or self._held or self.receiving)

    def end(self) -> None:
        """Take nothing more."""
        self.ended = True
        if self.receiving:
            self.receiving.end(cut=True)
            self.receiving = None

    def feed(self, data: bytes) -> None:
        while data and (self.receiving or not self.ended):
            data = self._parse(data)

    def _parse(self, data: bytes) -> bytes:
        """Returns what is left where the parser stopped."""
        was_in_head, receiving = self._in_head, self.receiving
        had = len(receiving.body) if receiving else 0
        if not was_in_head and not receiving:
            data = self._with_known_method(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            return self._without_upgrade(data[stopped.args[0] :])
        except httptools.HttpParserError:
            if self.receiving:
                self.end()
            else:
                self.refuse(HTTPStatus.BAD_REQUEST)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)  # the parser itself would put up with a header without end
            self._limit_head()
        if receiving and receiving is self.receiving:
            self._framing_bytes += len(data) - (len(receiving.body) - had)
            if self._framing_bytes > MAX_HEAD_BYTES + MAX_FRAMING * len(receiving.body):
                self.end()  # so does it with the end of a body, and with what stands beside a chunk's length
        return b""

    def _with_known_method(self, data: bytes) -> bytes:
        """What to give the parser. It knows some methods only, and reads all alike: to it, every one is POST."""
        data = self._held + data
        self._held = b""
        if data.startswith(b"POST "):
            self._method = "POST"
            return data
        data = data.lstrip(b"\r\n")
        line, end, _ = data.partition(b"\n")
        match = (_REQUEST_LINE if end else _BEGINNING).fullmatch(line)
        if len(line) > MAX_HEAD_BYTES:
            self.refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif data and not match:
            self.refuse(HTTPStatus.BAD_REQUEST)
        elif end and match:
            self._method = match[1].decode()
            return b"POST" + data[len(match[1]) :]
        else:
            self._held = data
        return b""

    def _without_upgrade(self, data: bytes) -> bytes:
        """The parser leaves all that follows to the protocol that was asked for, the body too. We speak no other."""
        self._parser = httptools.HttpRequestParser(self)
        if not self.receiving:
            return data
        framing = ("Transfer-Encoding", "HTTP_TRANSFER_ENCODING"), ("Content-Length", "CONTENT_LENGTH")
        environ = self.receiving.environ
        lines = [f"{name}: {environ[key]}" for name, key in framing if key in environ]
        return "\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode() + data

    # --- What the parser calls --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._environ = self._basis.copy()
        self._url = b""
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # it stands after a body, where it could not be relied on (RFC 9110, section 6.5.1)
        self._head_bytes += len(name) + len(value) + 32
        key = _known_key(name) if len(name) <= CACHED_BYTES else _key(name)
        if key in self._environ:
            self._environ[key] += ("; " if key == "HTTP_COOKIE" else ",") + value.decode("latin-1")
        elif key:
            self._environ[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.receiving:
            return  # this head stands for one that was there before
        self._limit_head()
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self.refuse(HTTPStatus.BAD_REQUEST)
        if self.ended:
            return
        environ = self._environ
        environ["REQUEST_METHOD"] = self._method or self._parser.get_method().decode()
        environ["PATH_INFO"], environ["QUERY_STRING"] = (_known_target if len(self._url) <= CACHED_BYTES else _target)(
            self._url
        )
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        self.ended = version == "1.0" or not self._parser.should_keep_alive()
        self._framing_bytes = 0
        self.receiving = environ["wsgi.input"] = Exchange(self._taker, environ)
        self._taker.take(self.receiving)

    def on_body(self, body: bytes) -> None:
        if self.receiving:
            self.receiving.receive(body)

    def on_message_complete(self) -> None:
        self._method = ""
        if self.receiving and not (self._parser.should_upgrade() and _has_body(self.receiving.environ)):
            self.receiving.end()
            self.receiving = None

    def _limit_head(self) -> None:
        if len(self._url) > MAX_HEAD_BYTES:
            self.refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self._head_bytes > MAX_HEAD_BYTES:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def refuse(self, status: HTTPStatus) -> None:
        """Have it said that something was no request, or can be none, and take nothing more."""
        if not self.ended:
            self.ended = True
            self._taker.refuse(status)


def _has_body(environ: Environ) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "0") != "0"


def _key(name: bytes) -> str:
    """Where WSGI has a header. An underscore would pass for a hyphen, and so bring back what a proxy has removed."""
    if b"_" in name:
        return ""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


def _target(target: bytes) -> tuple[str, str]:
    """Path and query of a request target, the path decoded as WSGI wants it (PEP 3333)."""
    if not target.startswith(b"/"):
        _, separator, rest = target.partition(b"://")  # the absolute form
        target = b"/" + rest.partition(b"/")[2] if separator else target
    path, _, query = target.partition(b"?")
    return unquote_to_bytes(path).decode("latin-1"), query.decode("latin-1")


# Nearly all requests have the same few.
_known_key = lru_cache(CACHED)(_key)
_known_target = lru_cache(CACHED)(_target)
