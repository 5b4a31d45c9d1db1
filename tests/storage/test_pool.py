"""Connections to the database: what each is set to, how many there are, and what becomes of those that end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.errors import QueryCanceled

from tests.storage.conftest import Run
from userdata.storage import statements
from userdata.storage.pool import Pool

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


def sessions(application: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(OURS, [application])
        ((number,),) = cursor.fetchall()
    return int(number)


def end_sessions(application: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = %s", [application]
        )


@pytest.fixture
def careless_database(stored: object) -> Iterator[None]:
    """Its defaults are not what the service promises."""
    defaults = {
        "synchronous_commit": "off",
        "statement_timeout": "0",
        "lock_timeout": "0",
        "plan_cache_mode": "force_custom_plan",
        "client_encoding": "'LATIN1'",
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_database())")
        ((name,),) = cursor.fetchall()
        for setting, value in defaults.items():
            cursor.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        yield
        cursor.execute(f"ALTER DATABASE {name} RESET ALL")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("synchronous_commit", "on", id="an answer waits for the disk"),
        pytest.param("statement_timeout", "1s", id="a statement ends"),
        pytest.param("lock_timeout", "200ms", id="a wait for a lock ends"),
        pytest.param("plan_cache_mode", "force_generic_plan", id="a plan is made once"),
        pytest.param("client_encoding", "UTF8", id="text is UTF-8"),
    ],
)
def test_a_session_is_set_whatever_the_database_says(
    run: Run, careless_database: None, open_pool: Callable[..., Pool], setting: str, value: str
) -> None:
    pool = open_pool()

    assert run(pool.execute(f"SELECT current_setting('{setting}')", {})) == [(value,)]


def test_a_statement_that_takes_too_long_is_ended_by_the_server(run: Run, pool: Pool) -> None:
    began = time.monotonic()
    with pytest.raises(QueryCanceled):
        run(pool.execute("SELECT pg_sleep(10)", {}))

    assert 0.9 < time.monotonic() - began < 1.6


def test_there_are_never_more_than_eight_connections(run: Run, open_pool: Callable[..., Pool]) -> None:
    pool = open_pool(application_name="bounded")

    async def burst() -> Counter[int]:
        rows = await asyncio.gather(*(pool.execute("SELECT pg_backend_pid(), pg_sleep(0.02)", {}) for _ in range(60)))
        return Counter(pid for ((pid, _),) in rows)

    used = run(burst())

    assert used.total() == 60
    assert 2 <= len(used) <= 8
    assert sessions("bounded") <= 8


def test_connections_that_the_server_has_ended_are_replaced_unnoticed(run: Run, open_pool: Callable[..., Pool]) -> None:
    """As at a failover, or when a firewall cuts idle connections."""
    pool = open_pool(application_name="ended")
    for _ in range(3):
        assert run(pool.execute("SELECT 1", {})) == [(1,)]
        end_sessions("ended")
        assert run(pool.execute("SELECT 1", {})) == [(1,)]


def test_a_connection_that_ends_under_a_statement_is_told_and_replaced(
    run: Run, open_pool: Callable[..., Pool]
) -> None:
    pool = open_pool(application_name="ended")

    async def interrupted() -> None:
        statement = asyncio.create_task(pool.execute("SELECT pg_sleep(0.9)", {}))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(end_sessions_apart)
        with pytest.raises(psycopg.OperationalError):
            await statement
        assert await pool.execute("SELECT 1", {}) == [(1,)]

    parameters = {name: value for name, value in connection.get_connection_params().items() if name in ("host", "user")}
    parameters["dbname"] = connection.settings_dict["NAME"]

    def end_sessions_apart() -> None:
        with psycopg.connect(**parameters) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'ended'"
            )

    run(interrupted())


def test_connections_that_can_not_be_made_ready_leave_nothing_behind(
    run: Run, open_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(statements, "SESSION", "SELECT nonsense")
        pool = open_pool(application_name="unready")
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError) as told:
                run(pool.execute("SELECT 1", {}))
            assert "nonsense" in str(told.value.__cause__)
        assert sessions("unready") == 0

    async def heals() -> list[Any]:
        async with asyncio.timeout(3):
            while True:
                with suppress(psycopg.OperationalError):
                    return await pool.execute("SELECT 1", {})

    assert run(heals()) == [(1,)]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        pytest.param({"dbname": "nowhere"}, 'database "nowhere" does not exist', id="no such database"),
        pytest.param({"user": "nobody-here"}, 'role "nobody-here" does not exist', id="no such role"),
        pytest.param({"host": "/nowhere"}, "No such file or directory", id="no server"),
    ],
)
def test_where_no_connection_can_be_had_the_reason_is_known(
    run: Run, open_pool: Callable[..., Pool], parameters: dict[str, str], reason: str
) -> None:
    pool = open_pool(**parameters)

    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="no connection could be had in time") as told:
            run(pool.execute("SELECT 1", {}))
        assert time.monotonic() - began < 0.6
        assert told.value.sqlstate is None
        assert reason in str(told.value.__cause__)


def test_a_pool_that_is_closed_gives_its_connections_back_and_lends_none(
    run: Run, open_pool: Callable[..., Pool]
) -> None:
    pool = open_pool(application_name="closing")
    assert run(pool.execute("SELECT 1", {})) == [(1,)]

    async def close_under_a_statement() -> float:
        statement = asyncio.create_task(pool.execute("SELECT pg_sleep(0.9)", {}))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await pool.close()
        with pytest.raises((psycopg.OperationalError, asyncio.CancelledError)):
            await statement
        return time.monotonic() - began

    assert run(close_under_a_statement()) < 0.6
    with pytest.raises(psycopg.OperationalError):
        run(pool.execute("SELECT 1", {}))
    deadline = time.monotonic() + 2
    while sessions("closing"):
        assert time.monotonic() < deadline
