"""Connections to PostgreSQL, lent by psycopg's pool, on which no wait is without end."""

import asyncio
import select
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from userdata.storage import deadlines, statements

MIN_CONNECTIONS = 2
MAX_CONNECTIONS = 8
MAX_WAITING = 512  # for a connection; more are told at once that there is none

NoConnection = (PoolTimeout, PoolClosed, TooManyRequests)


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that knows the server's clock."""

    clock = 0.0
    """The server's time, in seconds since 1970, less our own monotonic time."""

    def is_closed_by_server(self) -> bool:
        """Known without asking: between statements a server has nothing to say but that it is going."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))


class Numbers(NamedTuple):
    """What a pool has and lends now, and how many had to wait for a connection since it was last asked."""

    in_use: int
    idle: int
    waiting: int
    waited: int


class Pool:
    """This worker's connections to the database."""

    def __init__(self, parameters: Mapping[str, Any], *, prepare: bool = True) -> None:
        """`parameters`: psycopg's for connecting. `prepare`: whether a session keeps prepared statements."""
        self._prepare = prepare
        self.cause: psycopg.Error | None = None
        """Why the last attempt to connect failed; None after a success."""
        self._pool = AsyncConnectionPool(
            connection_class=self._connection_class(),
            kwargs={
                # A peer that has vanished is found out in the background, so that its connections are not kept.
                "tcp_user_timeout": 3000,
                "keepalives_idle": 5,
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "application_name": "userdata",
                **parameters,
                "connect_timeout": round(deadlines.CONNECT),
                "autocommit": True,
            },
            min_size=MIN_CONNECTIONS,
            max_size=MAX_CONNECTIONS,
            max_waiting=MAX_WAITING,
            timeout=deadlines.CONNECTION,
            reconnect_timeout=deadlines.RECONNECT,
            configure=self._configure,
            open=False,
            name="userdata",
        )
        self._statements: set[asyncio.Task[Any]] = set()
        self._sent: set[asyncio.Task[Any]] = set()  # those of them that have a connection, and wait for the server

    async def open(self) -> None:
        """Begin to connect, in the background."""
        await self._pool.open()

    async def close(self) -> None:
        for statement in self._sent:
            statement.cancel()
        await self._pool.close(timeout=deadlines.CONNECTION)

    async def execute(self, statement: str, parameters: dict[str, Any], ends: float | None = None) -> list[TupleRow]:
        """The rows of a statement, which is prepared on each connection at its first use there if it may be.

        `ends`, for a statement that writes: when its callers are told, by the monotonic clock. Then the parameter
        `expires` is added, the server's time after which the statement has to do nothing.

        Raises:
            psycopg.Error: without SQLSTATE where there was no connection or no answer in time.
        """
        told_at = time.monotonic() + deadlines.CONNECTION + deadlines.RESPONSE
        if ends is not None:
            told_at = min(told_at, ends)
        task = asyncio.create_task(self._execute(statement, parameters, None if ends is None else told_at))
        self._statements.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait((task,), timeout=told_at - time.monotonic())
        if task.done():
            return task.result()
        # The driver first asks the server to end the statement. Told a second time, it closes the connection.
        self._cancel(task)
        asyncio.get_running_loop().call_later(deadlines.CANCEL, self._cancel, task)
        # Where one connection hangs, the others are likely to: they are not to be found out one by one.
        await self.renew()
        raise psycopg.OperationalError("no answer came in time")

    async def renew(self) -> None:
        """Replace all connections; each new one compares the clocks anew."""
        await self._pool.drain()

    def numbers(self) -> Numbers:
        counted = self._pool.pop_stats()
        waiting, waited = counted.get("requests_waiting", 0), counted.get("requests_queued", 0)
        return Numbers(len(self._sent), counted.get("pool_available", 0), waiting, waited)

    async def _execute(self, statement: str, parameters: dict[str, Any], ends: float | None) -> list[TupleRow]:
        connection = await self._borrow()
        task = asyncio.current_task()
        assert task is not None
        self._sent.add(task)
        try:
            if ends is not None:
                parameters["expires"] = connection.clock + ends - deadlines.STATEMENT
            cursor = await connection.execute(statement, parameters, prepare=self._prepare, binary=True)
            return await cursor.fetchall()
        except ReadOnlySqlTransaction:
            await connection.close()  # the next connection may find a server, or a setting, that takes writes
            raise
        finally:
            self._sent.discard(task)  # a connection must not get lost on its way back
            await self._pool.putconn(connection)

    async def _borrow(self) -> Connection:
        try:
            async with asyncio.timeout(deadlines.CONNECTION):
                while True:
                    connection = await self._pool.getconn()
                    if not connection.is_closed_by_server():
                        return connection
                    await connection.close()
                    await self._pool.putconn(connection)
        except (TimeoutError, *NoConnection) as cause:
            raise psycopg.OperationalError("no connection could be had in time") from (self.cause or cause)

    def _connection_class(self) -> type[Connection]:
        """The pool itself tells only its log why it can't connect."""
        pool = self

        class Noted(Connection):
            @classmethod
            async def connect(cls, *args: Any, **kwargs: Any) -> Self:
                try:
                    return await super().connect(*args, **kwargs)
                except psycopg.Error as cause:
                    pool.cause = cause
                    raise

        return Noted

    async def _configure(self, connection: Connection) -> None:
        limits = {"statement": deadlines.STATEMENT, "lock": deadlines.LOCK}
        try:
            await connection.execute(statements.SESSION.format(**limits))
            row = await (await connection.execute(statements.CLOCK)).fetchone()
        except psycopg.Error as cause:
            self.cause = cause
            await connection.close()
            raise
        assert row is not None
        connection.clock = row[0] - time.monotonic()
        self.cause = None

    def _cancel(self, statement: asyncio.Task[Any]) -> None:
        if statement in self._sent:
            statement.cancel()

    def _forget(self, statement: asyncio.Task[Any]) -> None:
        self._statements.discard(statement)
        if not statement.cancelled():
            statement.exception()  # retrieved, if only here
