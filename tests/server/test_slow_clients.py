"""Thousands of slow connections at the proxy, and one caller who notices nothing."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
import pytest

from tests.conftest import Server
from tests.server.nginx import NGINX, start_nginx
from tests.server.wire import OK, Wire, request

pytestmark = [
    pytest.mark.proxy,
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]

SLOW_HEADS = 1_500
SLOW_BODIES = 300
CALLS_A_SECOND = 20
FLOOR = 0.02  # seconds: below it, a p99 says more of this machine than of the service


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(8_192, before[1])), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class SlowClient:
    """Sends a little each time, and comes back when it is thrown out."""

    def __init__(self, port: int, head: bytes, then: bytes) -> None:
        self._port, self._head, self._then = port, head, then
        self.times_thrown_out = 0
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=5)
        self.socket.sendall(self._head)
        self.socket.setblocking(False)

    def go_on(self) -> None:
        try:
            self.socket.send(self._then)
            self.socket.recv(1_000)
        except BlockingIOError:
            return  # there is no answer, and the connection lasts
        except (ConnectionResetError, BrokenPipeError):
            """That is an answer, too."""
        self.times_thrown_out += 1
        self.socket.close()
        self.connect()


@contextmanager
def slow_clients(port: int) -> Iterator[list[SlowClient]]:
    """Each of them sends about once a second, a few at a time."""
    head, body = b"POST /user-data/set HTTP/1.1\r\nHost: x\r\n", request(b"", length=100_000)
    clients = [SlowClient(port, head, b"X: v\r\n") for _ in range(SLOW_HEADS)]
    clients += [SlowClient(port, body, b" ") for _ in range(SLOW_BODIES)]
    ended = threading.Event()

    def trickle() -> None:
        for client in cycle(clients):
            client.go_on()
            if ended.wait(0.9 / len(clients)):
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield clients
    finally:
        ended.set()
        thread.join()
        for client in clients:
            client.socket.close()


def call(port: int, seconds: float) -> list[float]:
    """Store a value at a fixed rate, each time over a new connection; the seconds that each call took."""
    bearer, took = request(), []
    start = time.monotonic()
    for number in range(round(seconds * CALLS_A_SECOND)):
        time.sleep(max(0.0, start + number / CALLS_A_SECOND - time.monotonic()))
        began = time.monotonic()
        wire = Wire(port)
        reply = wire.call(bearer)
        took.append(time.monotonic() - began)
        wire.close()
        assert (reply.status, reply.body) == (200, OK)
    return took


def p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


def test_a_good_caller_notices_nothing_of_slow_ones(
    start_server: Callable[..., Server], database_url: str, stored: Any, tmp_path: Path
) -> None:
    service = start_server(wait="/readyz", DATABASE_URL=database_url)
    nginx = start_nginx(tmp_path, service.port)
    try:
        call(nginx.port, 1)
        alone = p99(call(nginx.port, 8))
        with slow_clients(nginx.port) as clients:
            beside_them = p99(call(nginx.port, 15))
            connected, reached = connections_at(nginx.port), connections_at(service.port)
            thrown_out = sum(client.times_thrown_out > 0 for client in clients)
    finally:
        nginx.stop()

    print(f"\np99 alone {alone * 1000:.1f} ms, beside {connected} slow connections {beside_them * 1000:.1f} ms")
    assert connected > 1_700
    assert thrown_out >= SLOW_HEADS  # each has had its 10 seconds
    assert reached < 70  # those that nginx keeps open; none of the slow ones
    assert beside_them <= 2 * max(alone, FLOOR)
    assert stored.get().revision == 24 * CALLS_A_SECOND


def connections_at(port: int) -> int:
    """How many connections a server has that listens at a port."""
    established = [each.laddr for each in psutil.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
    return sum(address.port == port for address in established if address)
