"""A provider's front of the tests' own: real HTTP on loopback, answering whatever a test tells it to."""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request to the front; `server.front` is the front."""

    def do_GET(self) -> None:
        front: KeyServer = self.server.front  # type: ignore[attr-defined]
        with front.counting:
            front.requests.append((time.monotonic(), self.path))
            front.now += 1
            front.most_at_once = max(front.most_at_once, front.now)
        try:
            with suppress(OSError):
                if self.headers.get("User-Agent"):
                    front.answer(self)
                else:
                    self.send(403, b"<h1>Forbidden</h1>", "text/html")
        finally:
            with front.counting:
                front.now -= 1

    def send(self, status: int, body: bytes, media_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silence."""


class KeyServer:
    """Serves a key set, or something else, at one port for as long as it is up."""

    def __init__(self) -> None:
        self.requests: list[tuple[float, str]] = []
        self.counting = threading.Lock()
        self.now = self.most_at_once = 0
        self.answer: Answer = say(404, b"")
        self.ended = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def publish(self, *jwks: dict[str, Any]) -> None:
        """From now on every path but the discovery document's answers this key set, as providers do."""
        keys = json.dumps({"keys": jwks}).encode()
        document = json.dumps({"issuer": self.issuer, "jwks_uri": self.url}).encode()
        self.answer = lambda request: request.send(200, document if ".well-known" in request.path else keys)

    def up(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Request)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._server.front = self  # type: ignore[attr-defined]
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Connections are refused from now on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self.ended.set()
        self.down()


def say(status: int, body: bytes, media_type: str = "application/json", **headers: str) -> Answer:
    return lambda request: request.send(status, body, media_type, **headers)


def hang(request: Request) -> None:
    request.server.front.ended.wait(20)  # type: ignore[attr-defined]


def drip_body(request: Request) -> None:
    """A byte each 50 ms, as if for ever: no single read ever takes long."""
    request.send_response(200)
    request.end_headers()
    _drip(request)


def drip_headers(request: Request) -> None:
    request.send_response(200)
    request.flush_headers()
    _drip(request)


def reset(request: Request) -> None:
    """End the connection in mid-answer, the rude way."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"keys": [')
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def _drip(request: Request) -> None:
    front = request.server.front  # type: ignore[attr-defined]
    while not front.ended.wait(0.05):
        request.wfile.write(b" ")
