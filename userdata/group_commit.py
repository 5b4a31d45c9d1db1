"""Group commit: what comes while the last commit runs is committed together in the next.

Concurrent requests of a process share one statement, one round trip and one flush of the log.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Writable(Protocol):
    """A write to one place by one writer."""

    @property
    def place(self) -> Hashable: ...
    @property
    def writer(self) -> str: ...
    @property
    def size(self) -> int: ...


W = TypeVar("W", bound=Writable)

MAX_BATCH_BYTES = 4 * 2**20
# After so long a commit is stuck, as on a row that is locked, and another one is begun beside it.
STUCK_SECONDS = 0.02


@dataclass(slots=True)
class Row(Generic[W]):
    """What is written to one place: the last of `writes`, which all share its outcome."""

    write: W
    writes: int = 1


@dataclass(slots=True, eq=False)
class _Ticket(Generic[W]):
    """One caller's write, and what will become of it: a failure or None."""

    write: W
    outcome: asyncio.Future[Exception | None]
    since: float

    def settle(self, failure: Exception | None) -> None:
        if not self.outcome.done():  # as it is when its request was broken off
            self.outcome.set_result(failure)


class GroupCommit(Generic[W]):
    """Combines the writes that are under way on one event loop; each gets its own outcome.

    `commit` writes rows of distinct places and returns a failure or None for each. It should not
    raise; if it does, every write of the batch fails with what it raised.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Row[W]]], Awaitable[Sequence[Exception | None]]],
        patience: float,
        commits_at_once: int,
    ) -> None:
        """`patience`: seconds after which a waiting write is given up, and not written unless it was on its way."""
        self._commit = commit
        self._patience = patience
        self._queue: deque[_Ticket[W]] = deque()
        self._vacancies = self._commits_at_once = commits_at_once
        self._gathering = False
        self._watching = False
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, write: W) -> asyncio.Future[Exception | None]:
        """What becomes of a write: None when it is committed, what `commit` returned for it, or a `TimeoutError`."""
        loop = asyncio.get_running_loop()
        ticket = _Ticket(write, loop.create_future(), loop.time())
        self._queue.append(ticket)
        if self._vacancies == self._commits_at_once and not self._gathering:
            self._gathering = True
            loop.call_soon(self._gather, loop, len(self._queue))
        elif not self._watching:
            self._watching = True
            loop.call_later(STUCK_SECONDS, self._watch, loop)
        return ticket.outcome

    def _gather(self, loop: asyncio.AbstractEventLoop, had: int) -> None:
        """Begin when the loop has run dry of requests that were there already, and take all of them along."""
        if len(self._queue) > had:
            loop.call_soon(self._gather, loop, len(self._queue))
        else:
            self._gathering = False
            self._begin(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what waited too long; begin another commit where those under way are stuck."""
        now = loop.time()
        while self._queue and now - self._queue[0].since > self._patience:
            self._queue.popleft().settle(TimeoutError("the write waited too long"))
        self._watching = bool(self._queue)
        if self._watching:
            if now - self._queue[0].since >= STUCK_SECONDS:
                self._begin(loop)
            loop.call_later(STUCK_SECONDS, self._watch, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._vacancies:
            self._vacancies -= 1
            task = loop.create_task(self._commit_all())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _commit_all(self) -> None:
        try:
            while self._queue:
                await self._commit_batch()
        finally:
            self._vacancies += 1

    async def _commit_batch(self) -> None:
        batch = self._take()
        failures: Sequence[Exception | None]
        try:
            failures = await self._commit([row for row, _ in batch])
        except Exception as cause:  # noqa: BLE001 - each of those who wait raises it
            failures = [cause] * len(batch)
        for (_, tickets), failure in zip(batch, failures, strict=True):
            for ticket in tickets:
                ticket.settle(failure)

    def _take(self) -> list[tuple[Row[W], list[_Ticket[W]]]]:
        """The next batch, in the order of arrival.

        Writes of one place by one writer become one row. Another writer's wait for the next batch,
        and so do all that came after them to the same place.
        """
        batch: dict[Hashable, tuple[Row[W], list[_Ticket[W]]]] = {}
        later: deque[_Ticket[W]] = deque()
        closed: set[Hashable] = set()
        size = 0
        for ticket in self._queue:
            write = ticket.write
            place = write.place
            size += write.size
            if (batch and size > MAX_BATCH_BYTES) or place in closed:
                closed.add(place)
                later.append(ticket)
            elif place not in batch:
                batch[place] = Row(write), [ticket]
            elif batch[place][0].write.writer == write.writer:
                row, tickets = batch[place]
                row.write = write
                row.writes += 1
                tickets.append(ticket)
            else:
                closed.add(place)
                later.append(ticket)
        self._queue = later
        return list(batch.values())
