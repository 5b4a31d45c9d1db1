"""A database of several hosts, far away, or behind a pooler that shares sessions between transactions."""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.conftest import PROJECT, SET, Server, free_port
from tests.databases import migrate, own_postgres
from tests.faults.hosts import blackhole, far_away
from tests.faults.site import OTHER_CALLS, call
from tests.server.conftest import wait_until
from tests.server.nginx import listens

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
LIMITS = (PROJECT / "deploy/pgbouncer/limits.sql").read_text()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    """The port of a PostgreSQL."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPORT", str(port))  # for the clients that wait for it
        with own_postgres("listen_addresses=127.0.0.1", f"port={port}", "fsync=off"):
            migrate(f"postgresql://postgres@127.0.0.1:{port}/userdata")
            yield port


def put(server: Server, key: str) -> int | None:
    return call(server.port, SET, {"value_key": key, "value_data": "value"}).result


@pytest.mark.parametrize("order", ["the dead one first", "the dead one last"])
def test_of_two_hosts_the_one_that_answers_is_found(
    database: int, start_server: Callable[..., Server], order: str
) -> None:
    with blackhole() as dead:
        ports = [dead, database] if order == "the dead one first" else [database, dead]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        url = f"postgresql://postgres@{hosts}/userdata?target_session_attrs=read-write"
        started = time.monotonic()
        server = start_server(DATABASE_URL=url)

        while put(server, "key") != 0:
            assert time.monotonic() - started < 10
        assert [put(server, f"key {n}") for n in range(20)] == [0] * 20
        server.stop()


def test_it_works_at_300_ms_from_the_database(database: int, start_server: Callable[..., Server]) -> None:
    with far_away(database, 0.3) as port:
        server = start_server(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/userdata", wait="/readyz")

        def use() -> Counter[int | None]:
            with ThreadPoolExecutor(8) as executor:
                results = Counter(executor.map(lambda n: put(server, f"key {n}"), range(8)))
            return results + Counter(call(server.port, path, body).result for path, body, _ in OTHER_CALLS)

        use()  # a new session prepares each statement, which is one more way there and back
        use()
        results = use() + use()

        assert set(results) <= {0, 1}  # success, and success in which there is nothing
        server.stop()


@pytest.mark.proxy
def test_behind_a_pooler_of_transactions_every_call_succeeds(
    database: int, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Four sessions for the sixteen connections of two workers; statements of either run in any."""
    with psycopg.connect(host="127.0.0.1", port=database, user="postgres", dbname="userdata") as connection:
        connection.execute(LIMITS.encode())
    with pgbouncer(database, tmp_path) as port:
        server = start_server(
            DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/userdata",
            DATABASE_PREPARED_STATEMENTS="false",
            WORKERS="2",
            wait="/readyz",
        )

        def caller(number: int) -> Counter[int | None]:
            results = Counter(put(server, f"key {number} {n % 7}") for n in range(40))
            for _ in range(5):
                results.update(call(server.port, path, body).result for path, body, _ in OTHER_CALLS)
            return results

        with ThreadPoolExecutor(16) as executor:
            results = sum(executor.map(caller, range(16)), Counter[int | None]())

        assert set(results) <= {0, 1}
        assert results.total() == 16 * (40 + 5 * len(OTHER_CALLS))
        server.stop()


@contextmanager
def pgbouncer(target: int, folder: Path) -> Iterator[int]:
    port = free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(f"""
[databases]
userdata = host=127.0.0.1 port={target} dbname=userdata user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
""")
    command = [str(PGBOUNCER), "-q", str(configuration)]
    if os.getuid() == 0:  # as whom it refuses to run
        configuration.chmod(0o644)
        for parent in [folder, *folder.parents][:3]:
            parent.chmod(0o755)
        command += ["-u", "nobody"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or listens(port), 10)
        assert process.poll() is None
        yield port
    finally:
        process.terminate()
        process.wait(10)
