"""Group commit: what queued while the last commit ran is committed together in the next.

Concurrent requests of a process share one statement, one round trip and one flush of the log.
An idle process adds no delay: a request that finds nobody committing commits by itself at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Row(Generic[W]):
    """What is written to one place: the last of `writes`, which all share its outcome."""

    write: W
    writes: int = 1


@dataclass(slots=True, eq=False)
class _Ticket(Generic[W]):
    """One caller's write, and the news for its thread."""

    write: W
    news: threading.Lock = field(default_factory=threading.Lock)
    settled: bool = False
    failure: Exception | None = None
    leads: bool = False

    def __post_init__(self) -> None:
        self.news.acquire()


class GroupCommit(Generic[W]):
    """Combines the writes of many threads; each gets its own outcome.

    `commit` writes rows of distinct places and returns a failure or None for each. It should not
    raise; if it does, every write of the batch fails with what it raised.
    """

    def __init__(
        self, commit: Callable[[Sequence[Row[W]]], Sequence[Exception | None]], patience: float, commits_at_once: int
    ) -> None:
        """`patience`: seconds after which a waiting write is given up, and not written unless it was on its way."""
        self._commit = commit
        self._patience = patience
        self._queue: deque[_Ticket[W]] = deque()
        self._mutex = threading.Lock()
        self._vacancies = commits_at_once

    def put(self, write: W) -> None:
        """Return when the write is committed. Raises what `commit` returned for it, or `TimeoutError`."""
        ticket = _Ticket(write)
        with self._mutex:
            self._queue.append(ticket)
            if self._vacancies:
                self._vacancies -= 1
                ticket.leads = True
        if not ticket.leads and not ticket.news.acquire(timeout=self._patience):
            self._give_up(ticket)
        if ticket.leads:
            self._lead(ticket)
        if ticket.failure is not None:
            raise ticket.failure

    def _give_up(self, ticket: _Ticket[W]) -> None:
        with self._mutex:
            if ticket.leads or ticket.settled:
                return
            if ticket in self._queue:
                self._queue.remove(ticket)
            ticket.failure = TimeoutError("the write waited too long")

    def _lead(self, own: _Ticket[W]) -> None:
        try:
            while not own.settled:
                self._commit_batch()
        finally:
            with self._mutex:
                successor = next((ticket for ticket in self._queue if not ticket.leads), None)
                if successor:
                    successor.leads = True
                    successor.news.release()
                else:
                    self._vacancies += 1

    def _commit_batch(self) -> None:
        with self._mutex:
            batch = self._take()
        try:
            failures = self._commit([row for row, _ in batch])
        except Exception as cause:  # noqa: BLE001 - each of the waiting threads raises it
            failures = [cause] * len(batch)
        for (_, tickets), failure in zip(batch, failures, strict=True):
            for ticket in tickets:
                ticket.failure = failure
                ticket.settled = True
                if not ticket.leads:
                    ticket.news.release()

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
