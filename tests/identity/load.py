"""Steady use of a running service, and a flood of tokens whose `kid` is invented."""

import base64
import json
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from multiprocessing import get_context
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """What a request got; times in seconds."""

    at: float
    took: float
    result: Any
    token: str


class Users:
    """A few apps that set a value again and again, from threads of their own, until the `with` ends."""

    def __init__(self, port: int, tokens: Sequence[str], *, apps: int = 4, rate: float = 100) -> None:
        self.tokens = tokens  # may be replaced while they work
        self.answers: list[Answer] = []
        self._port, self._apps, self._pause = port, apps, apps / rate
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(apps)

    def __enter__(self) -> Self:
        self._working = [self._pool.submit(self._work, number) for number in range(self._apps)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for work in self._working:
            work.result()
        self._pool.shutdown()

    def since(self, moment: float) -> list[Answer]:
        return [answer for answer in self.answers if answer.at >= moment]

    def _work(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        for turn in count():
            tokens = self.tokens
            token = tokens[(turn * self._apps + number) % len(tokens)]
            at = time.monotonic()
            result = set_value(connection, token, f"key-{number}")
            self.answers.append(Answer(at, time.monotonic() - at, result, token))
            if self._ending.wait(max(0.0, at + self._pause - time.monotonic())):
                break
        connection.close()


@contextmanager
def flooding(port: int, token: str, *, requests: int, seconds: float) -> Iterator[Any]:
    """Sends copies of a token, each with another invented `kid`, from another process; yields a future of the count
    of results."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        yield process.submit(_flood, port, token, requests, seconds)


def set_value(connection: HTTPConnection, token: str, key: str) -> Any:
    """The result, or what came instead of one."""
    body = json.dumps({"value_key": key, "value_data": "dark"})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", "/user-data/set", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    return json.loads(content)["result"] if answer.status == 200 else (answer.status, content)


def p99(answers: Sequence[Answer]) -> float:
    return sorted(answer.took for answer in answers)[int(len(answers) * 0.99)]


def with_invented_kid(token: str) -> str:
    header, rest = token.split(".", 1)
    fields = json.loads(base64.urlsafe_b64decode(header + "=="))
    invented = json.dumps(fields | {"kid": str(uuid.uuid4())}).encode()
    return f"{base64.urlsafe_b64encode(invented).rstrip(b'=').decode()}.{rest}"


def _flood(port: int, token: str, requests: int, seconds: float, connections: int = 8) -> Counter[Any]:
    began, each = time.monotonic(), requests // connections

    def one(_: int) -> Counter[Any]:
        results: Counter[Any] = Counter()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            for number in range(each):
                time.sleep(max(0.0, began + number * seconds / each - time.monotonic()))
                results[_set_value_cheaply(connection, with_invented_kid(token))] += 1
        return results

    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(one, range(connections)), Counter())


def _set_value_cheaply(connection: socket.socket, token: str) -> Any:
    """Like `set_value`, at little cost to a machine that has to serve the request too."""
    body = '{"value_key": "stolen", "value_data": "dark"}'
    connection.sendall(
        f"POST /user-data/set HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    head, _, content = connection.recv(65536).partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(content) < int(length[1]):
        content += connection.recv(65536)
    return json.loads(content)["result"] if head.startswith(b"HTTP/1.1 200") else head
