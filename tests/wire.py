"""HTTP as bytes on a socket, for clients that are not polite."""

import json
import re
import socket
from dataclasses import dataclass
from typing import Any


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def result(self) -> Any:
        """The body of the API; asserts that it has the one documented form."""
        assert self.headers["content-type"] == "application/json; charset=UTF-8"
        answer = json.loads(self.body)
        assert answer.keys() <= {"request_id", "result"}
        assert re.fullmatch(r'\{("request_id": -?\d+, )?"result": -?\d\}', self.body.decode())
        return answer

    @property
    def detail(self) -> str:
        return self.headers.get("x-result-detail", "")


class Wire:
    """One connection, and what came over it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
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

    def is_closed(self) -> bool:
        """Whether the server has ended the connection and sent nothing more; waits for a moment."""
        self.socket.settimeout(0.5)
        try:
            return self.received.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.received.close()
        self.socket.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
