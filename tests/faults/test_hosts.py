"""A database of several hosts, far away, or behind a pooler that shares sessions between transactions."""

import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from hypersecureid.local.postgres import Postgres
from tests.conftest import PROJECT, SET, Server, free_port
from tests.faults.conftest import migrate
from tests.faults.hosts import blackhole, far_away
from tests.faults.site import OTHER_CALLS, call

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
LIMITS = (PROJECT / "deploy/pgbouncer/limits.sql").read_text()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Postgres, int]]:
    """A PostgreSQL that listens on a port."""
    folder, port = Path(tempfile.mkdtemp(prefix="userdata-tests-")), free_port()
    postgres = Postgres(folder / "data", "listen_addresses=127.0.0.1", f"port={port}", "fsync=off")
    try:
        os.environ["PGPORT"] = str(port)  # for the clients that wait for it
        postgres.start()
        migrate(f"postgresql://postgres@127.0.0.1:{port}/userdata")
        yield postgres, port
    finally:
        del os.environ["PGPORT"]
        postgres.close()
        shutil.rmtree(folder)


def put(server: Server, key: str) -> int | None:
    return call(server.port, SET, {"value_key": key, "value_data": "value"}).result


@pytest.mark.parametrize("order", ["the dead one first", "the dead one last"])
def test_of_two_hosts_the_one_that_answers_is_found(
    database: tuple[Postgres, int], start_server: Callable[..., Server], order: str
) -> None:
    with blackhole() as dead:
        ports = [dead, database[1]] if order == "the dead one first" else [database[1], dead]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        url = f"postgresql://postgres@{hosts}/userdata?target_session_attrs=read-write"
        started = time.monotonic()
        server = start_server(DATABASE_URL=url)

        while put(server, "key") != 0:
            assert time.monotonic() - started < 10
        assert [put(server, f"key {n}") for n in range(20)] == [0] * 20
        server.stop()


def test_it_works_at_300_ms_from_the_database(
    database: tuple[Postgres, int], start_server: Callable[..., Server]
) -> None:
    with far_away(database[1], 0.3) as port:
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
    database: tuple[Postgres, int], start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Four sessions for the sixteen connections of two workers; statements of either run in any."""
    with psycopg.connect(host="127.0.0.1", port=database[1], user="postgres", dbname="userdata") as connection:
        connection.execute(LIMITS.encode())
    with pgbouncer(database[1], tmp_path) as port:
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
        deadline = time.monotonic() + 10
        while not any(each.laddr.port == port for each in psutil.Process(process.pid).net_connections("tcp4")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)
