"""The table's migrations, over a million rows and under load: no caller notices."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import psycopg
import pytest

from hypersecureid.local.postgres import Postgres
from tests.conftest import PROJECT, Server
from tests.databases import own_postgres
from tests.endpoints.racers import Caller

ROWS = 1_000_000
KEYS_OF_A_USER = 20
OLD, NEW = "one_row_per_owner_and_key", "one_row_per_owner_and_its_key"
FILL = f"""
INSERT INTO userdata_storedvalue (owner_kind, owner_id, key, value, app, access_scope)
SELECT 'user', 'user ' || n / {KEYS_OF_A_USER}, 'key ' || n % {KEYS_OF_A_USER}, 'v', 'a1', 0
FROM generate_series(0, {ROWS - 1}) AS n
"""


@dataclass
class Database:
    postgres: Postgres

    def execute(self, statement: str) -> list[Any]:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def migrate(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "manage.py", "migrate", *arguments],
            cwd=PROJECT,
            env=os.environ | {"DATABASE_URL": self.postgres.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def unique_indexes(self) -> dict[str, bool]:
        """Which are valid."""
        return dict(
            self.execute(
                "SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
                " WHERE indrelid = 'userdata_storedvalue'::regclass AND NOT indisprimary"
            )
        )


@pytest.fixture(scope="module")
def database(django_test_environment: None) -> Iterator[Database]:
    """A million rows, as the first version of the service would have left them."""
    with own_postgres("fsync=off", "max_wal_size=4GB") as postgres:
        database = Database(postgres)
        assert database.migrate("userdata", "0001").wait(60) == 0
        database.execute(FILL)
        yield database


@dataclass
class Load:
    """What callers do all the time, and what they were told."""

    port: int
    over: threading.Event = field(default_factory=threading.Event)
    results: Counter[tuple[str, Any]] = field(default_factory=Counter)
    slowest: float = 0.0
    races: int = 0

    def run(self, act: Callable[["Load", Caller, int], Iterator[tuple[str, Any]]], number: int) -> None:
        with closing(Caller(self.port)) as caller:
            steps = act(self, caller, number)
            while not self.over.is_set():
                began = time.monotonic()
                self.results[next(steps)] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)

    def overwrite(self, caller: Caller, number: int) -> Iterator[tuple[str, Any]]:
        random = Random(number)
        while True:
            row = random.randrange(ROWS)
            user, key = f"user {row // KEYS_OF_A_USER}", f"key {row % KEYS_OF_A_USER}"
            yield "overwrite", caller.set(key, f"{number}", user)[0]

    def new_key(self, caller: Caller, number: int) -> Iterator[tuple[str, Any]]:
        random = Random(number)
        while True:
            yield "new key", caller.set(f"new {random.random()}", "v", f"user {random.randrange(10**9)}")[0]

    def race(self, caller: Caller, number: int) -> Iterator[tuple[str, Any]]:
        """For the same new keys as all the others, so that some of them are made by several at once."""
        while True:
            self.races += 1
            yield "race", caller.set(f"raced {self.races // 6}", f"{number}", f"racer {self.races // 6000}")[0]

    def get(self, caller: Caller, number: int) -> Iterator[tuple[str, Any]]:
        """A key of its own, which it sets now and then."""
        turn = 0
        while True:
            if turn % 10 == 0:
                assert caller.set(f"own {number}", f"{turn // 10}") == (0, "")
            yield "get", caller.get(f"own {number}") == f"{turn // 10}"
            turn += 1


@pytest.mark.slow
def test_it_is_migrated_under_load_and_no_caller_notices(
    database: Database, start_server: Callable[..., Server]
) -> None:
    server = start_server(wait="/readyz", DATABASE_URL=database.postgres.url, WORKERS="2")
    load = Load(server.port)
    kinds = [Load.overwrite] * 3 + [Load.new_key] * 2 + [Load.race] * 6 + [Load.get] * 2
    assert database.unique_indexes() == {OLD: True}

    with ThreadPoolExecutor(len(kinds)) as executor:
        callers = [executor.submit(partial(load.run, kind), number) for number, kind in enumerate(kinds)]
        try:
            break_off(database)
            assert database.unique_indexes() == {OLD: True, NEW: False}
            assert database.migrate().wait(60) == 0
        finally:
            load.over.set()
        for caller in callers:
            caller.result()

    assert database.unique_indexes() == {NEW: True}
    assert load.results.keys() == {("overwrite", 0), ("new key", 0), ("race", 0), ("get", True)}
    assert min(load.results.values()) > 100
    assert load.slowest < 3
    (raced,) = database.execute("SELECT count(*), max(revision) FROM userdata_storedvalue WHERE key LIKE 'raced%'")
    assert raced[1] > 1
    assert server.stop() == 0
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "a statement failed" not in log


def break_off(database: Database) -> None:
    """Begin to migrate, and end it when the new index is half built."""
    migration = database.migrate()
    deadline = time.monotonic() + 30
    while NEW not in database.unique_indexes():
        assert time.monotonic() < deadline
    database.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE %'")
    assert migration.wait(30) != 0
