"""Batches: what comes while the last batch runs is run together in the next.

Concurrent requests of a worker share one statement, one round trip and, if they write, one flush of the log. All of it
happens on one event loop, so there are no locks.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from userdata.storage import deadlines

PATIENCE = 3  # turns of the loop in which nothing comes in


class Batchable(Protocol):
    """Something that callers submit."""

    @property
    def weight(self) -> int:
        """How much of a batch it takes up."""


class Placed(Batchable, Protocol):
    """A write to one place by one writer."""

    @property
    def place(self) -> Hashable: ...
    @property
    def writer(self) -> str: ...


I = TypeVar("I", bound=Batchable)  # noqa: E741
P = TypeVar("P", bound=Placed)
O = TypeVar("O")  # noqa: E741


@dataclass(slots=True, eq=False)
class Ticket(Generic[I, O]):
    """What one caller submitted, when (by the loop's clock), and what becomes of it."""

    item: I
    outcome: asyncio.Future[O]
    since: float

    def settle(self, outcome: Any) -> None:
        """`outcome`: a result, an exception, or a future that will have either."""
        if isinstance(outcome, asyncio.Future):
            outcome.add_done_callback(lambda done: self.settle(done.exception() or done.result()))
        elif self.outcome.done():
            pass  # the caller is gone
        elif isinstance(outcome, Exception):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


class Batcher(Generic[I, O]):
    """Runs what callers submit in batches, at most `at_once` at the same time.

    `run` gets a batch and returns what becomes of each item: a result, an exception, or a future of either. If it
    raises, each item of the batch fails with what it raised.
    """

    def __init__(
        self, run: Callable[[Sequence[I]], Awaitable[Sequence[Any]]], *, at_once: int, max_weight: int
    ) -> None:
        self._run = run
        self._at_once = at_once
        self._max_weight = max_weight
        self._waiting: deque[Ticket[I, O]] = deque()
        self._running = 0
        self._last_size = 0
        self._watching = False
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no reference to a task

    def submit(self, item: I) -> asyncio.Future[O]:
        """What becomes of the item; a `TimeoutError` where no batch took it along within `deadlines.QUEUE`."""
        loop = asyncio.get_running_loop()
        ticket: Ticket[I, O] = Ticket(item, loop.create_future(), loop.time())
        self._waiting.append(ticket)
        if not self._running:
            self._begin(loop)
        elif not self._watching:
            self._watching = True
            loop.call_later(deadlines.STUCK, self._watch, loop)
        return ticket.outcome

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what waited too long; begin another batch where those that run are stuck."""
        now = loop.time()
        while self._waiting and now - self._waiting[0].since > deadlines.QUEUE:
            self._waiting.popleft().settle(TimeoutError("no batch began in time"))
        self._watching = bool(self._waiting)
        if self._watching:
            if now - self._waiting[0].since >= deadlines.STUCK:
                self._begin(loop)
            loop.call_later(deadlines.STUCK, self._watch, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._running < self._at_once:
            self._running += 1
            task = loop.create_task(self._run_all())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_all(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                if self._waiting:
                    batch = self._take()
                    self._last_size = len(batch)
                    await self._run_batch(batch)
        finally:
            self._running -= 1

    async def _gather(self) -> None:
        """Let the loop take in requests that are on their way, so that they go along.

        Where fewer wait than went with the last batch, the callers that it answered are likely to be back soon.
        """
        quiet = 0
        while quiet < (1 if len(self._waiting) >= self._last_size else PATIENCE):
            had = len(self._waiting)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == had else 0

    async def _run_batch(self, tickets: Sequence[Ticket[I, O]]) -> None:
        outcomes: Sequence[Any]
        try:
            outcomes = await self._run([ticket.item for ticket in tickets])
        except Exception as cause:  # noqa: BLE001 - each caller raises it
            outcomes = [cause] * len(tickets)
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.settle(outcome)

    def _take(self) -> list[Ticket[I, O]]:
        """Remove the next batch from what waits, in the order of arrival, and at least one item."""
        waiting, batch = self._waiting, [self._waiting.popleft()]
        weight = batch[0].item.weight
        while waiting and (weight := weight + waiting[0].item.weight) <= self._max_weight:
            batch.append(waiting.popleft())
        return batch


class GroupCommit(Batcher[P, None]):
    """Batches of writes, of which no two writers' meet in one place.

    Another writer's write to a place waits for the next batch, and so do all that came after it to that place.
    """

    def _take(self) -> list[Ticket[P, None]]:
        batch: list[Ticket[P, None]] = []
        later: deque[Ticket[P, None]] = deque()
        writers: dict[Hashable, str] = {}
        closed: set[Hashable] = set()
        weight = 0
        for ticket in self._waiting:
            item = ticket.item
            place = item.place
            weight += item.weight
            if (
                (batch and weight > self._max_weight)
                or place in closed
                or writers.setdefault(place, item.writer) != item.writer
            ):
                closed.add(place)
                later.append(ticket)
            else:
                batch.append(ticket)
        self._waiting = later
        return batch
