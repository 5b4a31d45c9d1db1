"""A request, and what it takes to answer it."""

import asyncio
import io
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from userdata import waiting

Environ: TypeAlias = dict[str, Any]
Headers: TypeAlias = list[tuple[str, str]]
Response: TypeAlias = tuple[int, Headers, bytes]
Application: TypeAlias = Callable[[Environ], Response]

READ_AHEAD_BYTES = 65_536


class Reading(Protocol):
    def go_on(self, exchange: "Exchange") -> None:
        """Let more of a body come in."""


class Exchange:
    """A request, of which the body may still be coming; to the application, that body."""

    __slots__ = ("_reading", "_waiter", "_wanted", "body", "complete", "cut", "environ", "refusal")

    def __init__(self, reading: Reading, environ: Environ, refusal: int = 0) -> None:
        """`refusal`: the status for what is no request that the application could answer."""
        self.environ = environ
        self.refusal = refusal
        self.body = bytearray()
        self.complete = False
        self.cut = False
        self._reading = reading
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = READ_AHEAD_BYTES

    def read(self, size: int) -> bytes:
        """At least `size` bytes, or the body to its end; nothing where that came too early."""
        if not self.complete and len(self.body) < size:
            waiting.wait(self._wait_for, size)
        return b"" if self.cut else bytes(self.body)

    def readline(self, size: int = -1) -> bytes:
        """Django asks whether there is such a method; nobody calls it."""
        raise io.UnsupportedOperation("readline")

    def is_full(self) -> bool:
        """Whether there is as much as anybody wants for now."""
        return len(self.body) >= self._wanted

    def receive(self, data: bytes) -> None:
        self.body += data
        if self.is_full():
            self._wake()

    def end(self, *, cut: bool = False) -> None:
        self.complete = True
        self.cut = cut
        self._wake()

    def _wait_for(self, size: int) -> asyncio.Future[None]:
        self._wanted = size
        self._waiter = asyncio.get_running_loop().create_future()
        self._reading.go_on(self)
        return self._waiter

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
