"""Connections to the database that end under a statement."""

import asyncio
from contextlib import suppress

import psycopg
import pytest

from userdata.pool import Connection


@pytest.mark.parametrize("signal", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_socket_that_the_driver_has_closed_is_watched_no_more(database_url: str, signal: str) -> None:
    """Its number may soon be that of a client's connection, which would never hear of anything."""

    async def statement() -> bool:
        conn = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        socket, pid = conn.pgconn.socket, conn.info.backend_pid
        connection = Connection(conn, clock=0)
        await connection.prepare(b"wait", b"SELECT pg_sleep(10)")
        waiting = asyncio.create_task(connection.execute(b"wait", [], []))
        await asyncio.sleep(0.1)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            await other.execute(f"SELECT {signal}({pid})")
            with suppress(psycopg.OperationalError):
                await waiting
        watched = asyncio.get_running_loop().remove_reader(socket)
        connection.close()
        return watched

    assert asyncio.run(statement()) is (signal == "pg_cancel_backend")
