"""Connections to the production server, and the processes that it is made of."""

import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.conftest import Server
from tests.server.wire import Wire


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
def same_workers(server: Server) -> Iterator[None]:
    """Asserts that the workers are the same processes before and after."""
    before = workers_of(server)
    yield
    assert workers_of(server) == before


def workers_of(server: Server) -> list[int]:
    """The workers' process ids."""
    return sorted(child.pid for child in psutil.Process(server.process.pid).children())


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for a condition; the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not so after {seconds} seconds"
        time.sleep(0.02)
    return time.monotonic() - started
