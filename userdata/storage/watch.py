"""The pool's numbers for operators, taken once a second: what each statement would pay for costs next to nothing so."""

import asyncio
from contextlib import suppress

from userdata import metrics
from userdata.storage.pool import Pool

SECONDS = 1.0


class PoolWatch:
    """Writes a pool's numbers into the metrics while it runs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._in_use = metrics.POOL_CONNECTIONS.labels("in_use")
        self._idle = metrics.POOL_CONNECTIONS.labels("idle")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.create_task(self._watch(), name="pool-watch")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self) -> None:
        while True:
            numbers = self._pool.numbers()
            self._in_use.set(numbers.in_use)
            self._idle.set(numbers.idle)
            metrics.POOL_WAITING.set(numbers.waiting)
            metrics.POOL_WAITS.inc(numbers.waited)
            await asyncio.sleep(SECONDS)
