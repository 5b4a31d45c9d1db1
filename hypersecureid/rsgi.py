"""The application as Granian's workers call it: API requests on the worker's event loop, pages in threads."""

import asyncio
import gc
import io
import os
import sys
from collections.abc import AsyncIterable, Awaitable
from typing import Any, Protocol

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from granian.rsgi import ProtocolClosed, Scope  # type: ignore[attr-defined]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
get_wsgi_application()

from hypersecureid.checks import require_safe_settings  # noqa: E402 - the settings come first
from userdata import waiting  # noqa: E402
from userdata.configuration import key_source  # noqa: E402

require_safe_settings()
key_source().start()

# What renders templates, or reads files or the database by Django's own connection.
PAGES = ("/admin", "/static/", "/docs", "/openapi.json", "/metrics")

SWITCH_SECONDS = 0.0003

Headers = list[tuple[str, str]]


class Exchange(Protocol, AsyncIterable[bytes]):
    """A request's body, in one piece or in parts, and the response."""

    def __call__(self) -> Awaitable[bytes]: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...


class Application:
    """RSGI, Granian's own interface: it costs a request less than ASGI does."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in each worker before its first request."""
        waiting.serve_on(loop)
        # What is here now stays, so the collector need not go over it again and again: each time costs milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        # The server's own thread needs the interpreter for a moment to hand each request over. Python's 5 ms would
        # let it do so only between the loop's turns: smaller batches, more turns.
        sys.setswitchinterval(SWITCH_SECONDS)

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        if scope.path.startswith(PAGES):
            body = io.BytesIO(await read(exchange, settings.MAX_BODY_BYTES))
            response = await waiting.run_in_thread(respond, scope, body)
        else:
            response = await waiting.run(respond, scope, Incoming(exchange, whole="content-length" in scope.headers))
        exchange.response_bytes(*response)


class Incoming(io.RawIOBase):
    """A body that is waited for when it is read, which is once."""

    def __init__(self, exchange: Exchange, *, whole: bool) -> None:
        """`whole`: its length is known, so that it can be had in one piece."""
        self._exchange = exchange
        self._whole = whole

    def read(self, size: int = -1) -> bytes:
        """At least `size` bytes; fewer where the body ends."""
        try:
            return waiting.wait(self._exchange) if self._whole else waiting.wait(read, self._exchange, size)
        except ProtocolClosed:
            return b""  # the client ended it early


async def read(exchange: Exchange, size: int) -> bytes:
    """The body up to the part with which it has `size` bytes."""
    body = b""
    async for part in exchange:
        body += part
        if len(body) >= size:
            break
    return body


_handler = BaseHandler()
_handler.load_middleware()


def respond(scope: Scope, body: io.IOBase) -> tuple[int, Headers, bytes]:
    """Let Django answer."""
    response: Any = _handler.get_response(WSGIRequest(_environ(scope, body)))
    headers = [*response.items(), *(("set-cookie", cookie.OutputString()) for cookie in response.cookies.values())]
    if not response.streaming:
        return response.status_code, headers, response.content
    try:
        return response.status_code, headers, b"".join(response)
    finally:
        response.close()


def _environ(scope: Scope, body: io.IOBase) -> dict[str, Any]:
    """A request as WSGI describes it (PEP 3333), for Django."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
    }
    for header, value in scope.headers.items():
        name = _names.get(header) or "HTTP_" + header.upper().replace("-", "_")
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


_names = {
    "content-type": "CONTENT_TYPE",
    "content-length": "CONTENT_LENGTH",
    "authorization": "HTTP_AUTHORIZATION",
    "host": "HTTP_HOST",
}


def _latin(text: str) -> str:
    return text if text.isascii() else text.encode().decode("latin-1")


application = Application()
