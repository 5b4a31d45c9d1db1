"""Connections that can't be had, end, or lead to a database that takes no writes; a database that comes late."""

import time
from collections.abc import Callable
from contextlib import ExitStack

import psycopg
import pytest

from tests.conftest import Server
from tests.databases import migrate
from tests.faults.site import Site, assert_told, frozen, stopped

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'userdata'"


def test_no_connection_left_is_told_and_ends_by_itself(site: Site) -> None:
    with ExitStack() as hoard:
        ours = hoard.enter_context(psycopg.connect(site.postgres.url, autocommit=True))
        while ours.execute(OURS).fetchall() != [(0,)]:
            ours.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'userdata'")
            try:
                while True:
                    hoard.enter_context(psycopg.connect(site.postgres.url))
            except psycopg.OperationalError:
                """There is no connection left."""
        for answer in site.put_at_once(100):
            assert_told(answer)
        assert site.ready() == (503, False)
        assert ours.execute(OURS).fetchall() == [(0,)]

    assert site.rows() == {}
    site.assert_back()


def test_connections_that_the_server_ends_are_replaced(site: Site) -> None:
    """As at a failover, or when an idle connection is cut."""
    for _ in range(3):
        site.end_sessions()
        assert [site.put(str(number)).result for number in range(20)] == [0] * 20


def test_a_database_that_takes_no_writes_is_told_and_ends_by_itself(site: Site) -> None:
    """As after a failover that left the connections with the old primary."""
    site.execute("ALTER DATABASE userdata SET default_transaction_read_only = on")
    try:
        site.end_sessions()
        for answer in site.put_at_once(20):
            assert_told(answer)
        assert_told(site.delete("key"))
        assert site.rows() == {}
    finally:
        site.execute("ALTER DATABASE userdata RESET ALL", database="postgres")

    site.assert_back()


@pytest.mark.slow
def test_a_service_that_starts_before_its_database_waits_for_it(
    site: Site, start_server: Callable[..., Server]
) -> None:
    """Server, database, table: each comes later than the service."""
    url = site.postgres.url.replace("/userdata?", "/late?")
    with stopped(site):
        server = start_server(DATABASE_URL=url, WORKERS="1")
        late = Site(site.postgres, server)
        assert_told(late.put())
        assert late.ready() == (503, False)
    assert_told(late.put())
    site.execute("CREATE DATABASE late")
    assert_told(late.put())
    assert late.ready() == (503, False)
    migrate(url)
    late.assert_back()
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_service_ends_soon_though_its_database_is_frozen(site: Site, start_server: Callable[..., Server]) -> None:
    server = start_server(wait="/readyz", DATABASE_URL=site.postgres.url, WORKERS="1")

    with frozen(site):
        for answer in Site(site.postgres, server).put_at_once(20):
            assert_told(answer)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
    assert "Traceback" not in server.log.read_text()
