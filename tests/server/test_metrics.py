"""The numbers of /metrics over several workers, replaced ones included."""

import asyncio
import os
import platform
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.application import Running
from tests.conftest import Server
from tests.server.conftest import wait_until, workers_of
from tests.tokens import token
from userdata import metrics
from userdata.service import connection_parameters
from userdata.storage.pool import MAX_CONNECTIONS, Pool

pytestmark = pytest.mark.slow


@pytest.fixture
def own_server(start_server: Callable[..., Server], database_url: str, stored: object, tmp_path: Path) -> Server:
    return start_server(wait="/readyz", DATABASE_URL=database_url, WORKERS="2", TMPDIR=str(tmp_path))


def number(server: Server, sample: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels."""
    page = httpx.get(f"{server.url}/metrics", timeout=5).text
    return sum(
        each.value
        for family in text_string_to_metric_families(page)
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    )


def send(server: Server, requests: int, *, bearer: str | None = None) -> None:
    """Each by a connection of its own, so that they go to all workers; one in four has a bad token."""
    for nth in range(requests):
        server.set(bearer="bad" if nth % 4 == 3 else bearer or token())


def test_requests_are_counted_over_all_workers_and_those_that_were_replaced(own_server: Server) -> None:
    send(own_server, 40)
    first = workers_of(own_server)

    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: first[0] not in workers_of(own_server) and len(workers_of(own_server)) == 2, 5)
    wait_until(lambda: number(own_server, "userdata_workers") == 2, 10)
    send(own_server, 20)

    for _ in range(5):  # whichever worker is asked
        assert number(own_server, "userdata_answer_seconds_count", storage="basic", action="set") == 60
        assert number(own_server, "userdata_answer_seconds_bucket", le="+Inf") == 60
        assert 0 < number(own_server, "userdata_answer_seconds_sum") < 60 * 3
        assert number(own_server, "userdata_answers_total", outcome="SUCCESS", status="200") == 45
        assert number(own_server, "userdata_answers_total", outcome="TOKEN_INVALID") == 15
        assert number(own_server, "userdata_worker_starts_total") == 3
        assert number(own_server, "userdata_workers") == 2
        assert number(own_server, "userdata_commits_total") == 45


def test_tokens_that_are_known_are_told_from_new_ones(own_server: Server) -> None:
    bearer = token()
    with httpx.Client(base_url=own_server.url, timeout=5) as one_worker:
        for _ in range(5):
            one_worker.post("/user-data/get", json={"value_keys": []}, headers={"Authorization": f"Bearer {bearer}"})

    assert number(own_server, "userdata_tokens_total", cache="miss") == 1
    assert number(own_server, "userdata_tokens_total", cache="hit") == 4


def test_the_pool_s_connections_are_counted_while_they_are_lent(
    own_server: Server, database_url: str, stored: Any
) -> None:
    def lent() -> float:
        return number(own_server, "userdata_pool_connections", state="in_use")

    own_server.set()
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE userdata_storedvalue IN ACCESS EXCLUSIVE MODE")
        with httpx.Client(base_url=own_server.url, timeout=10) as client:

            def is_seen() -> bool:
                for _ in range(2):
                    try:
                        client.post(
                            "/user-data/set",
                            json={"value_key": "k", "value_data": "v"},
                            headers={"Authorization": f"Bearer {token()}"},
                            timeout=0.2,
                        )
                    except httpx.TimeoutException:
                        continue
                return lent() > 0

            wait_until(is_seen, 15)
        other.rollback()

    wait_until(lambda: lent() == 0, 10)
    wait_until(lambda: number(own_server, "userdata_pool_connections", state="idle") >= 2, 10)
    assert number(own_server, "userdata_pool_waiting") == 0
    assert (
        number(own_server, "userdata_store_failures_total", cause="timeout")
        + number(own_server, "userdata_store_failures_total", cause="lock")
        + number(own_server, "userdata_store_failures_total", cause="no_answer")
    )


def test_what_runs_is_told(own_server: Server, settings: Any) -> None:
    version, python = settings.VERSION, platform.python_version()

    assert number(own_server, "userdata_build_info", version=version, python=python) == 1
    assert 0 < time.time() - number(own_server, "userdata_worker_start_time_seconds") < 60


@pytest.mark.parametrize(
    ("sqlstate", "had_connection", "cause"),
    [
        (None, False, "no_connection"),
        (None, True, "no_answer"),
        ("57014", True, "timeout"),
        ("57P01", True, "shutdown"),
        ("40P01", True, "conflict"),
        ("55P03", True, "lock"),
        ("53100", True, "resources"),
        ("42P01", True, "schema_or_privilege"),
        ("XX000", True, "other"),
    ],
)
def test_failures_have_few_causes(sqlstate: str | None, had_connection: bool, cause: str) -> None:
    def counted() -> dict[str, float]:
        return {
            each.labels["cause"]: each.value
            for family in metrics.STORE_FAILURES.collect()
            for each in family.samples
            if each.name.endswith("_total")
        }

    before = counted()
    metrics.store_failed(sqlstate, had_connection=had_connection)

    assert counted() == before | {cause: before[cause] + 1}
    assert len(before) < 20


def test_statements_that_wait_for_a_connection_are_counted(running: Running, stored: object) -> None:
    async def crowd() -> tuple[Any, Any]:
        pool = Pool(connection_parameters())
        await pool.open()
        sleeps = [asyncio.create_task(pool.execute("SELECT pg_sleep(0.3)", {})) for _ in range(MAX_CONNECTIONS + 3)]
        await asyncio.sleep(0.2)
        crowded = pool.numbers()
        await asyncio.gather(*sleeps, return_exceptions=True)
        calm = pool.numbers()
        await pool.close()
        return crowded, calm

    crowded, calm = running.run(crowd())

    assert crowded.in_use + crowded.waiting == MAX_CONNECTIONS + 3
    assert crowded.waited >= crowded.waiting >= 3
    assert (calm.in_use, calm.waiting) == (0, 0)
    assert calm.idle > 0
