"""Connections to PostgreSQL on which no wait is without end."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from os import dup
from typing import TypeAlias

import psycopg
from django.db import connections
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

Connection: TypeAlias = psycopg.Connection[TupleRow]

# Together they stay below the 3 s within which a dead database has to be told.
CONNECT_SECONDS = 2
CHECKOUT_SECONDS = 1.0
LOCK_SECONDS = 0.5
STATEMENT_SECONDS = 1.0
# The server ends a statement by itself; this is for a server that no longer does anything.
ANSWER_SECONDS = 1.3

MAX_CONNECTIONS = 4


@contextmanager
def connection() -> Iterator[Connection]:
    """A connection from this process's pool, broken off if the statements on it take too long.

    Raises `psycopg.OperationalError` where none can be had in time.
    """
    with _pool().connection() as conn, _deadlines().guarding(conn):
        yield conn


@cache
def _pool() -> "ConnectionPool[Connection]":
    """Made at first use: a pool does not survive the fork of a worker, and tests name their own database."""
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
        # A short-lived attempt, made anew by whoever needs a connection next, sees a revived server soonest.
        reconnect_timeout=CONNECT_SECONDS,
        configure=_configure,
        check=_check,
        open=True,
        name="userdata",
    )


def close() -> None:
    """Close the pool; the next `connection` opens another."""
    if _pool.cache_info().currsize:
        _pool().close()
        _pool.cache_clear()


def _configure(conn: Connection) -> None:
    conn.execute(
        f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{LOCK_SECONDS}s';"
        # Whatever the server's default, an answer follows a durable commit.
        " SET synchronous_commit = on; SET client_encoding = 'UTF8'"
    )


def _check(conn: Connection) -> None:
    """Refuse a connection that the server has closed, without asking the server.

    Between statements it has nothing to say but that it is going.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if poll.poll(0):
        raise psycopg.OperationalError("the server closed the connection")


class Deadlines:
    """Breaks off connections whose statement gets no answer in time.

    Nothing else ends a wait inside libpq for a server that is frozen or cut off.
    """

    def __init__(self) -> None:
        self._ends: dict[Connection, float] = {}
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    @contextmanager
    def guarding(self, conn: Connection) -> Iterator[None]:
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


@cache
def _deadlines() -> Deadlines:
    return Deadlines()
