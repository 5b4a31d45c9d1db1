"""Connections to PostgreSQL on which no wait is without end."""

import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import dup
from typing import TypeAlias
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from psycopg import errors
from psycopg.pq import DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

Connection: TypeAlias = psycopg.Connection[TupleRow]

# Together they stay below the 3 s within which a dead database has to be told.
CONNECT_SECONDS = 2
CHECKOUT_SECONDS = 0.8
LOCK_SECONDS = 0.2  # each of the two locks that a row may take
STATEMENT_SECONDS = 1.0
# The server ends a statement by itself; this is for a server that no longer does anything.
ANSWER_SECONDS = 1.2

MAX_CONNECTIONS = 4
READ_ONLY = b"25006"


class Pool:
    """This process's connections, opened at first use: they do not survive the fork of a worker."""

    def __init__(self, statements: Mapping[bytes, str]) -> None:
        """`statements`: SQL by name, prepared on each connection."""
        self._statements = statements
        self._opening = threading.Lock()
        self._opened: ConnectionPool[Connection] | None = None
        self._deadlines = Deadlines()
        self._clocks: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    def execute(
        self, statement: bytes, parameters: Sequence[bytes], formats: Sequence[int], *, expires: bool = False
    ) -> PGresult:
        """Run a prepared statement in one call of libpq, which holds no lock of Python's while it waits.

        `parameters` are in the text (0) or binary (1) formats of PostgreSQL. With `expires`, one is added:
        the server's time, in seconds since 1970, after which nobody waits for the result.
        Raises `psycopg.Error`; an `OperationalError` without SQLSTATE where no answer came in time.
        """
        with self._connection() as conn, self._deadlines.guarding(conn):
            if expires:
                end = time.monotonic() + self._clock(conn) + ANSWER_SECONDS
                parameters, formats = [*parameters, str(end).encode()], [*formats, Format.TEXT]
            result = conn.pgconn.exec_prepared(statement, parameters, formats, Format.BINARY)
            if result.error_field(DiagnosticField.SQLSTATE) == READ_ONLY:
                conn.close()  # the next connection may find a server, or a setting, that takes writes
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
            if sqlstate:
                raise errors.lookup(sqlstate)
            # Where one connection hangs, the others are likely to: they are not to be found out one by one.
            self._connections().drain()
            raise psycopg.OperationalError("the connection is lost")
        return result

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        pool = self._connections()
        conn = pool.getconn()
        while _is_closed_by_server(conn):
            conn.close()
            pool.putconn(conn)
            conn = pool.getconn()
        try:
            yield conn
        finally:
            pool.putconn(conn)

    def forget_clocks(self) -> None:
        """Read the server's time anew: what was written in time should not have expired."""
        self._clocks.clear()

    def _clock(self, conn: Connection) -> float:
        """The server's time less our own monotonic time."""
        if conn not in self._clocks:
            row = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            assert row is not None
            self._clocks[conn] = row[0] - time.monotonic()
        return self._clocks[conn]

    def close(self) -> None:
        """Close all connections; the next use opens others."""
        if self._opened:
            self._opened.close()
            self._opened = None

    def _connections(self) -> "ConnectionPool[Connection]":
        if self._opened is None:
            with self._opening:
                self._opened = self._opened or self._open()
        return self._opened

    def _open(self) -> "ConnectionPool[Connection]":
        settings = connections["default"].get_connection_params()
        django_only = {"context", "cursor_factory", "prepare_threshold", "client_encoding"}
        kwargs = {
            "tcp_user_timeout": 3000,
            "keepalives_idle": 5,
            **{name: value for name, value in settings.items() if name not in django_only},
            "connect_timeout": CONNECT_SECONDS,
            "autocommit": True,
            "application_name": "userdata",
        }
        return ConnectionPool(
            kwargs=kwargs,
            min_size=1,
            max_size=MAX_CONNECTIONS,
            timeout=CHECKOUT_SECONDS,
            # The pool's own attempts come at ever longer intervals. One that gives up soon, and is made anew by
            # whoever needs a connection next, sees a revived server soonest.
            reconnect_timeout=0,
            configure=self._configure,
            open=True,
            name="userdata",
        )

    def _configure(self, conn: Connection) -> None:
        conn.execute(
            f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{LOCK_SECONDS}s';"
            # Whatever the server's default, an answer follows a durable commit.
            " SET synchronous_commit = on; SET client_encoding = 'UTF8';"
            # The plan is the same for all parameters, and making it takes longer than running it.
            " SET plan_cache_mode = force_generic_plan; SET jit = off"
        )
        for name, sql in self._statements.items():
            result = conn.pgconn.prepare(name, sql.encode())
            if result.status != ExecStatus.COMMAND_OK:
                raise psycopg.OperationalError("a statement can't be prepared; are the migrations applied?")


def _is_closed_by_server(conn: Connection) -> bool:
    """Known without asking: between statements a server has nothing to say but that it is going."""
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Deadlines:
    """Breaks off connections whose statement gets no answer in time.

    Nothing else ends a wait inside libpq for a server that is frozen or cut off.
    """

    def __init__(self) -> None:
        self._ends: dict[Connection, float] = {}
        self._watching = False

    @contextmanager
    def guarding(self, conn: Connection) -> Iterator[None]:
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
        self._ends[conn] = time.monotonic() + ANSWER_SECONDS
        try:
            yield
        finally:
            self._ends.pop(conn, None)

    def _watch(self) -> None:
        while True:
            time.sleep(0.1)
            now = time.monotonic()
            for conn, end in list(self._ends.items()):
                if now > end and self._ends.pop(conn, 0.0):
                    _break_off(conn)


def _break_off(conn: Connection) -> None:
    try:
        with socket.socket(fileno=dup(conn.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.OperationalError):
        """It has gone already."""
