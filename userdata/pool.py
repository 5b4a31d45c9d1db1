"""Connections to PostgreSQL on which no wait is without end."""

import asyncio
import select
import time
from collections.abc import Mapping, Sequence

import psycopg
from django.db import connections
from psycopg import errors, generators
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait

# Together they stay below the 3 s within which a dead database has to be told.
CONNECT_SECONDS = 1.5
LOCK_SECONDS = 0.2  # each of the two locks that a row may take
STATEMENT_SECONDS = 1.0
# The server ends a statement by itself; this is for a server that no longer does anything.
ANSWER_SECONDS = 1.2

READ_ONLY = b"25006"


class Pool:
    """This process's connections, opened when they are needed: no more than there are statements at once.

    The one used last is used next, so that what the server keeps for it is at hand.
    """

    def __init__(self, statements: Mapping[bytes, str]) -> None:
        """`statements`: SQL by name, prepared on each connection."""
        self._statements = statements
        self._idle: list[Connection] = []

    async def execute(
        self, statement: bytes, parameters: Sequence[bytes], formats: Sequence[int], *, expires: bool = False
    ) -> PGresult:
        """Run a prepared statement.

        `parameters` are in the text (0) or binary (1) formats of PostgreSQL. With `expires`, one is added:
        the server's time, in seconds since 1970, after which nobody waits for the result.
        Raises `psycopg.Error`; an `OperationalError` without SQLSTATE where no answer came in time.
        """
        connection = self._take() or await self._open()
        if expires:
            end = time.monotonic() + connection.clock + ANSWER_SECONDS
            parameters, formats = [*parameters, str(end).encode()], [*formats, Format.TEXT]
        try:
            result = await connection.execute(statement, parameters, formats)
        except psycopg.Error:
            connection.close()
            # Where one connection hangs, the others are likely to: they are not to be found out one by one.
            self.close_idle()
            raise
        if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            self._idle.append(connection)
            return result
        sqlstate = result.error_field(DiagnosticField.SQLSTATE) or b""
        if sqlstate == READ_ONLY:
            connection.close()  # the next connection may find a server, or a setting, that takes writes
        else:
            self._idle.append(connection)
        raise errors.lookup(sqlstate.decode())

    async def close(self) -> None:
        """Close the connections that are not in use; the next use opens others."""
        self.close_idle()

    def close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> "Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed_by_server():
                return connection
            connection.close()
        return None

    async def _open(self) -> "Connection":
        settings = connections["default"].get_connection_params()
        django_only = {"context", "cursor_factory", "prepare_threshold", "client_encoding"}
        kwargs = {
            "tcp_user_timeout": 3000,
            "keepalives_idle": 5,
            **{name: value for name, value in settings.items() if name not in django_only},
            "autocommit": True,
            "application_name": "userdata",
        }
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                conn = await psycopg.AsyncConnection.connect(**kwargs)
                connection: Connection | None = None
                try:
                    connection = Connection(conn, clock=await self._configure(conn))
                    await self._prepare(connection)
                    return connection
                except BaseException:
                    # Not its socket alone, which the loop may already be watching.
                    if connection:
                        connection.close()
                    else:
                        await conn.close()
                    raise
        except TimeoutError as cause:
            raise psycopg.OperationalError("no connection came in time") from cause

    async def _configure(self, conn: psycopg.AsyncConnection[TupleRow]) -> float:
        """Returns the server's time, in seconds since 1970, less our own monotonic time."""
        await conn.execute(
            f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{LOCK_SECONDS}s';"
            # Whatever the server's default, an answer follows a durable commit.
            " SET synchronous_commit = on; SET client_encoding = 'UTF8';"
            # The plan is the same for all parameters, and making it takes longer than running it.
            " SET plan_cache_mode = force_generic_plan; SET jit = off"
        )
        cursor = await conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        row = await cursor.fetchone()
        assert row is not None
        return float(row[0] - time.monotonic())

    async def _prepare(self, connection: "Connection") -> None:
        for name, sql in self._statements.items():
            result = await connection.prepare(name, sql.encode())
            if result.status != ExecStatus.COMMAND_OK:
                raise psycopg.OperationalError("a statement can't be prepared; are the migrations applied?")


class Connection:
    """A connection that the event loop watches from first to last, and not anew for each statement."""

    def __init__(self, conn: psycopg.AsyncConnection[TupleRow], clock: float) -> None:
        """`clock`: the server's time, in seconds since 1970, less our own monotonic time."""
        self.clock = clock
        self._conn = conn
        self._pgconn = conn.pgconn
        self._socket = conn.pgconn.socket
        self._loop = asyncio.get_running_loop()
        self._statement: PQGen[list[PGresult]] | None = None
        self._outcome: asyncio.Future[PGresult]
        self._writing = False
        self._watched = True
        self._loop.add_reader(self._socket, self._proceed, Ready.R)

    async def prepare(self, name: bytes, sql: bytes) -> PGresult:
        self._pgconn.send_prepare(name, sql)
        return await self._answer()

    async def execute(self, statement: bytes, parameters: Sequence[bytes], formats: Sequence[int]) -> PGresult:
        """The result of a prepared statement. Raises `psycopg.OperationalError` where there is none in time."""
        self._pgconn.send_query_prepared(statement, parameters, formats, result_format=Format.BINARY)
        return await self._answer()

    def is_closed_by_server(self) -> bool:
        """Known without asking: between statements a server has nothing to say but that it is going."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._unwatch()
        self._pgconn.finish()

    async def _answer(self) -> PGresult:
        self._statement = generators.execute(self._pgconn)
        self._outcome = self._loop.create_future()
        timer = self._loop.call_later(ANSWER_SECONDS, self._fail, "no answer came in time")
        self._proceed(Ready.NONE)
        try:
            result = await self._outcome
        finally:
            timer.cancel()
        if result.status == ExecStatus.FATAL_ERROR and not result.error_field(DiagnosticField.SQLSTATE):
            raise psycopg.OperationalError("the connection is lost")
        return result

    def _proceed(self, ready: Ready) -> None:
        """Let the driver go on with what it can now read or write."""
        if self._statement is None:
            self._unwatch()  # the server is going; whoever takes the connection will see it
            return
        try:
            wants = self._statement.send(ready or None)  # type: ignore[arg-type]
        except StopIteration as end:
            self._statement = None
            if not self._outcome.done():
                self._outcome.set_result(end.value[-1])
        except psycopg.Error:
            self._fail("the connection is lost")
        else:
            if bool(wants & Wait.W) != self._writing:
                self._writing = not self._writing
                if self._writing:
                    self._loop.add_writer(self._socket, self._proceed, Ready.W)
                else:
                    self._loop.remove_writer(self._socket)
        if self._pgconn.status != ConnStatus.OK:
            self._unwatch()  # at once: the driver has closed the socket, and the next client may get its number

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)

    def _fail(self, reason: str) -> None:
        self._statement = None
        if not self._outcome.done():
            self._outcome.set_exception(psycopg.OperationalError(reason))
