"""Bodies that take their time, and many large ones at once."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.conftest import SET, Server
from tests.server.conftest import wait_until
from tests.server.wire import MIB, OBJECT, OK, Reply, Wire, chunk, chunked, request
from userdata import parsers
from userdata.exceptions import BodyTooLarge, InvalidParameters, SlowDown

Receive = Callable[[], Awaitable[dict[str, Any]]]


def received(*parts: bytes, more: bool = False) -> Receive:
    """ASGI's `receive` of a body in parts; where `more` are to come, they never do."""
    messages: Iterator[tuple[int, bytes]] = iter(enumerate(parts, 1))

    async def receive() -> dict[str, Any]:
        number, part = next(messages, (0, b""))
        if not number:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": more or number < len(parts)}

    return receive


def read(length: str, receive: Receive) -> bytes:
    return asyncio.run(parsers.BodyReader().read(length, receive))


@pytest.mark.parametrize("length", ["", "100"])
@pytest.mark.parametrize("parts", [[], [b"{"], [b"{"] * 99])
def test_a_body_has_a_deadline(monkeypatch: pytest.MonkeyPatch, length: str, parts: list[bytes]) -> None:
    monkeypatch.setattr(parsers, "BODY_SECONDS", 0.05)

    with pytest.raises(InvalidParameters, match="The body took longer than"):
        read(length, received(*parts, more=True))


def test_the_deadline_is_a_minute() -> None:
    assert parsers.BODY_SECONDS == 60


def test_a_body_is_what_its_parts_are_together() -> None:
    assert read("", received(b"a", b"", b"b" * 100_000, b"c")) == b"a" + b"b" * 100_000 + b"c"


@pytest.mark.parametrize("length", ["2097153", "18446744073709551615"])
def test_too_much_is_refused_by_its_length(length: str) -> None:
    with pytest.raises(BodyTooLarge):
        read(length, received(more=True))


@pytest.mark.parametrize("length", ["", "1"])
def test_too_much_is_refused_once_it_has_come(length: str) -> None:
    with pytest.raises(BodyTooLarge):
        read(length, received(b"a" * 2**20, b"a" * 2**20, b"a", more=True))


@pytest.mark.parametrize("parts", [[b""], [b"a"], [b"a", b"b"]])
def test_less_than_announced_is_no_body(parts: list[bytes]) -> None:
    with pytest.raises(InvalidParameters, match="The body ended early"):
        read("3", received(*parts))


def test_large_bodies_at_once_are_bounded_and_small_ones_pass() -> None:
    async def fill() -> None:
        reader = parsers.BodyReader()
        large = [asyncio.create_task(reader.read("65537", received(more=True))) for _ in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(SlowDown):
            await reader.read("65537", received(more=True))
        with pytest.raises(SlowDown):
            await reader.read("", received(b"a" * 65_537, more=True))
        assert await reader.read("65536", received(b"a" * 65_536)) == b"a" * 65_536
        large.pop().cancel()
        await asyncio.sleep(0)
        assert await reader.read("65537", received(b"a" * 65_537)) == b"a" * 65_537
        for task in large:
            task.cancel()
        await asyncio.gather(*large, return_exceptions=True)
        assert await asyncio.gather(*(reader.read("65537", received(b"a" * 65_537)) for _ in range(64)))

    asyncio.run(fill())


@pytest.mark.parametrize(("path", "status"), [(SET, 429), ("/user-data/by-email/set", 200)])
def test_the_server_bounds_large_bodies(server: Server, wire: Any, stored: Any, path: str, status: int) -> None:
    """Two workers take 64 each; whoever comes on top of them is told so at once, and small bodies pass."""
    waiting = [wire() for _ in range(140)]
    for connection in waiting:
        connection.send(request(b"{", path=path, length=MIB))
    told: list[Reply] = []

    def enough() -> bool:
        for connection in waiting:
            connection.socket.setblocking(False)
            if connection not in answered and readable(connection):
                connection.socket.settimeout(5)
                answered.add(connection)
                told.append(connection.reply())
        return len(told) >= 12

    answered: set[Wire] = set()
    wait_until(enough, 5)

    assert len(told) < 140
    for reply in told:
        assert (reply.status, reply.result, reply.headers["retry-after"]) == (status, {"result": -4}, "1")
        assert reply.detail == "Too many large bodies are on their way; send again later."
    assert server.set().json() == {"result": 0}
    assert stored.get().revision == 1


def readable(connection: Wire) -> bool:
    """Whether an answer has begun to come."""
    try:
        return bool(connection.socket.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_slow_senders_do_not_stop_others(server: Server, wire: Any, stored: Any) -> None:
    slow = [wire() for _ in range(600)]
    for number, connection in enumerate(slow):
        connection.send(chunked() if number % 20 == 0 else request(b"", length=len(OBJECT)))
    for number in range(10):
        for nth, connection in enumerate(slow):
            connection.send(chunk(b" ") if nth % 20 == 0 else OBJECT[number : number + 1])
        response = server.set({"request_id": number, "value_key": "quick", "value_data": "v"})
        assert response.json() == {"request_id": number, "result": 0}
        assert response.elapsed.total_seconds() < 2

    for nth, connection in enumerate(slow):
        connection.send(chunk(OBJECT) + b"0\r\n\r\n" if nth % 20 == 0 else OBJECT[10:])

    assert {connection.reply().body for connection in slow} == {OK}
    assert (stored.get(key="quick").revision, stored.get(key="theme").revision) == (10, 600)
