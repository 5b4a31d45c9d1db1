"""HTTP as bytes on a socket, for clients that are not polite."""

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

from tests.conftest import SET
from tests.tokens import token

MIB = 2**20
OBJECT = b'{"request_id": 7, "value_key": "theme", "value_data": "dark"}'
OK = b'{"request_id": 7, "result": 0}'


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def result(self) -> Any:
        """The body of the API; asserts that it has the one documented form."""
        assert self.headers["content-type"] == "application/json; charset=UTF-8"
        assert re.fullmatch(r'\{("request_id": -?\d+, )?"result": -?\d\}', self.body.decode())
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        return self.headers.get("x-result-detail", "")


class Wire:
    """One connection, and what came over it."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
        self.received = self.socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """All of it, or what the server takes before it closes."""
        try:
            for part in parts:
                self.socket.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            """Whoever closes early has answered first."""

    def end(self) -> None:
        """Say that nothing more will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def reply(self, method: str = "POST") -> Reply:
        """The next answer; asserts that it is neither a page nor a traceback."""
        version, _, status = self.received.readline().decode().partition(" ")
        assert version in ("HTTP/1.1", "HTTP/1.0"), f"no answer but {version!r}"
        headers: dict[str, str] = {}
        while line := self.received.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            assert name.lower() not in headers, f"{name} stands twice"
            headers[name.lower()] = value.strip()
        length = 0 if method == "HEAD" or status.startswith("1") else int(headers["content-length"])
        body = self.received.read(length)
        assert len(body) == length
        assert "html" not in headers.get("content-type", "")
        assert b"<" not in body
        assert b"Traceback" not in body
        return Reply(int(status[:3]), headers, body)

    def call(self, *parts: bytes) -> Reply:
        self.send(*parts)
        return self.reply()

    def is_closed(self, seconds: float = 0.5) -> bool:
        """Whether the server ends the connection within some time, and sends nothing more."""
        self.socket.settimeout(seconds)
        try:
            return self.received.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.received.close()
        self.socket.close()


def request(
    body: bytes | None = OBJECT,
    *lines: str | bytes,
    method: str = "POST",
    path: str = SET,
    version: str = "HTTP/1.1",
    host: str | None = "127.0.0.1",
    content_type: str | None = "application/json",
    bearer: str | None = "",
    length: int | str | None = None,
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


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*lines: str, **changes: Any) -> bytes:
    """The head of a request whose body comes in chunks."""
    return request(None, "Transfer-Encoding: chunked", *lines, **changes)
