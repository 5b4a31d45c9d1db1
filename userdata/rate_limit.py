"""How often a user may call by an app: counted in Redis or, where there is none, in each worker by itself."""

import asyncio
import time
from hashlib import blake2b
from typing import Any

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from userdata import metrics

REDIS_SECONDS = 0.2  # for all that a request asks of Redis, a new connection included
PAUSE_SECONDS = 1.0  # after a failure: nobody waits for Redis meanwhile
MAX_CONNECTIONS = 8

_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}  # in seconds, by the first letter of their names

log = structlog.get_logger(__name__)


class RateLimit:
    """A sliding window of two counters: unlike a fixed window it lets no double burst through where two windows meet,
    and unlike a list of requests it takes the same little room for every caller.

    Where Redis can't be used, everybody is let through.
    """

    def __init__(self, rate: str, *, redis_url: str, secret: str) -> None:
        """`rate`: such as `600/min`. `secret`: keys the hash by which Redis knows users and apps."""
        amount, _, period = rate.partition("/")
        self._rate = RateLimitItemPerSecond(int(amount), _PERIODS[period[0]], namespace="rate")
        self._hash_key = blake2b(secret.encode(), digest_size=32, person=b"rate limit").digest()
        self._pool: Any = None
        storage: MemoryStorage | RedisStorage = MemoryStorage()
        if redis_url:
            self._pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=REDIS_SECONDS)
            options: dict[str, Any] = {"connection_pool": self._pool}
            storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="userdata", **options)
        self._window = SlidingWindowCounterRateLimiter(storage)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._is_down = False
        self._pause_end = 0.0

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    async def count(self, user: str, app: str) -> float | None:
        """Count a request; the seconds after which its caller may send the next, None where this one may go on."""
        caller = blake2b(f"{user}\x1f{app}".encode(), digest_size=16, key=self._hash_key).hexdigest()
        wait = await (self._counted(caller) if self._pool is None else self._counted_by_redis(caller))
        if wait is not None:
            metrics.RATE_LIMIT_REFUSALS.inc()
        return wait

    async def _counted(self, caller: str) -> float | None:
        if await self._window.hit(self._rate, caller):
            return None
        full_until = (await self._window.get_window_stats(self._rate, caller)).reset_time
        return max(0.0, full_until - time.time()) + 0.001  # there is room after that moment, not at it

    async def _counted_by_redis(self, caller: str) -> float | None:
        async with self._connections:
            now = time.monotonic()
            if now < self._pause_end:
                metrics.RATE_LIMIT_ERRORS.inc()
                return None
            if self._is_down:
                self._pause_end = now + PAUSE_SECONDS  # this request tries Redis, and no other waits for what it finds
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    wait = await self._counted(caller)
            except (RedisError, OSError) as cause:  # a TimeoutError is an OSError
                self._went_down(cause)
                return None
            self._came_back()
            return wait

    def _went_down(self, cause: Exception) -> None:
        metrics.RATE_LIMIT_ERRORS.inc()
        self._pause_end = time.monotonic() + PAUSE_SECONDS
        if not self._is_down:
            self._is_down = True
            reason = f"{type(cause).__name__}: {cause}".rstrip(": ")
            log.error("requests are not counted: Redis can't be used", cause=reason)

    def _came_back(self) -> None:
        self._pause_end = 0.0
        if self._is_down:
            self._is_down = False
            log.warning("requests are counted again")
