"""The plan of a statement does not hang on statistics: it is by the unique index, whatever the planner believes.

A plan is made once for each connection, perhaps when the table was empty, and serves until the connection ends. Here it
grows to 200,000 rows meanwhile, or comes from a dump, and nothing ever analyzes it.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from hypersecureid.local.postgres import Postgres
from hypersecureid.local.programs import BINARIES
from tests.databases import migrate, own_postgres
from tests.storage.conftest import Run, put, told
from tests.storage.plans import LOGGED, PlanLog, Scan, sort_collations
from userdata.storage import Name, Owner, Store

ROWS = 200_000
KEYS_OF_A_USER = 20
GROW = f"""
INSERT INTO userdata_storedvalue (owner_kind, owner_id, key, value, app, access_scope)
SELECT 'user', 'user ' || n / {KEYS_OF_A_USER}, 'key ' || n % {KEYS_OF_A_USER}, 'v', 'app ' || n % 2, 1
FROM generate_series(0, {ROWS - 1}) AS n
"""

KEY = 3  # columns of the unique index: owner_kind, owner_id, key
OWNER = 2
ROW = Scan("INDEXSCAN", KEY)
INDEX_ALONE = Scan("INDEXONLYSCAN", KEY)
INDEX_ALONE_BY_OWNER = Scan("INDEXONLYSCAN", OWNER)


@dataclass
class Server:
    """A PostgreSQL of one's own, in which nothing is analyzed, and what it says of plans."""

    postgres: Postgres
    plans: PlanLog

    def url(self, database: str) -> str:
        return self.postgres.url.replace("/userdata?", f"/{database}?")

    def execute(self, database: str, statement: str) -> list[Any]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, database: str) -> None:
        self.execute("postgres", f"CREATE DATABASE {database}")
        migrate(self.url(database))

    def read(self, database: str) -> tuple[int, int]:
        """Rows read by scans of the whole table, and entries of the index, so far."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            (counts,) = connection.execute(
                "SELECT t.seq_tup_read, i.idx_tup_read"
                " FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid)"
                " WHERE t.relname = 'userdata_storedvalue' AND i.indexrelname LIKE 'one_row%'"
            )
        return counts[0], counts[1]

    def wait_for_sessions(self, database: str) -> None:
        """Sessions tell what they have read at their end."""
        deadline = time.monotonic() + 5
        while self.execute(database, "SELECT FROM pg_stat_activity WHERE application_name = 'userdata'"):
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def server(django_test_environment: None) -> Iterator[Server]:
    with own_postgres("autovacuum=off", "fsync=off") as postgres:
        yield Server(postgres, PlanLog(postgres.log))


def calls(store: Store, user: str) -> dict[str, Callable[[], Any]]:
    """One of each, of a user who has 20 keys once the table has grown."""
    owner = Owner("user", user)
    new = ["new 1", "new 2", "new 3"]
    return {
        "set": lambda: told(put(store, "key 0", owner=owner, app="app 0", scope=1)),
        "batch": lambda: told(*(put(store, key, owner=owner, app="app 0", scope=1) for key in ["key 0", *new])),
        "refused": lambda: told(put(store, "key 0", owner=owner, app="app 1")),
        "get": lambda: store.get(owner, "app 0", [Name("key 0"), Name("key 2", "app 1", "key 1"), Name("no")]),
        "list": lambda: store.list(owner, "app 0"),
        "list shared": lambda: store.list_shared(owner, "app 1", "", 100),
        "delete": lambda: store.delete(owner, "app 0", new),
    }


BY_INDEX = {
    "set": {ROW, INDEX_ALONE, INDEX_ALONE_BY_OWNER},  # the row itself, if it is there; then as a batch
    "batch": {INDEX_ALONE, INDEX_ALONE_BY_OWNER, ROW},  # which of the keys are there; how many; those that are there
    "refused": {ROW, INDEX_ALONE, INDEX_ALONE_BY_OWNER},
    "get": {ROW},
    "list": {INDEX_ALONE_BY_OWNER},
    "list shared": {INDEX_ALONE},
    "delete": {ROW},
}


@pytest.mark.parametrize("state", ["empty", "empty and vacuumed", "restored from a dump"])
def test_each_access_to_the_table_is_by_the_unique_index(
    server: Server, run: Run, open_at: Callable[..., Store], state: str
) -> None:
    database = state.replace(" ", "_")
    if state == "restored from a dump":
        restore(server, database)
    else:
        server.create(database)
    if state == "empty and vacuumed":
        server.execute(database, "VACUUM userdata_storedvalue")
    store = open_at(conninfo_to_dict(server.url(database)) | {"options": LOGGED})
    server.plans.new_plans()

    async def use(user: str) -> dict[str, set[Scan]]:
        """The accesses to the table in the plans that each call has made."""
        made = {}
        for name, call in calls(store, user).items():
            await call()
            made[name] = server.plans.new_scans()
        return made

    def not_by_index(made: dict[str, set[Scan]]) -> dict[str, set[Scan]]:
        return {name: scans - BY_INDEX[name] for name, scans in made.items() if scans - BY_INDEX[name]}

    first = run(use("early"))
    assert not_by_index(first) == {}
    assert all(first.values())
    if state != "restored from a dump":
        server.execute(database, GROW)
    table, index = server.read(database)
    again = run(use("user 7"))
    run(store.close())

    assert not_by_index(again) == {}  # those of a connection that comes to a statement for the first time
    server.wait_for_sessions(database)
    table_after, index_after = server.read(database)
    assert table_after == table
    assert index_after - index < 50 * KEYS_OF_A_USER


def test_rows_are_locked_in_the_same_order_whatever_the_collation_of_the_database(
    server: Server, run: Run, open_at: Callable[..., Store]
) -> None:
    """By code points, as a delete finds them in the index; a database may by default sort `B` behind `a`."""
    server.create("collated")
    store = open_at(conninfo_to_dict(server.url("collated")) | {"options": LOGGED})
    server.plans.new_plans()

    run(told(*(put(store, key) for key in "abc")))
    (insert,) = [plan for plan in server.plans.new_plans() if "{MODIFYTABLE" in plan]

    assert "950 950 950" in sort_collations(insert)


def restore(server: Server, database: str) -> None:
    """A grown table from a dump, as from a backup."""
    server.create("dumped")
    server.execute("dumped", GROW)
    server.execute("postgres", f"CREATE DATABASE {database}")
    dump = subprocess.run([BINARIES / "pg_dump", server.url("dumped")], capture_output=True, check=True).stdout
    subprocess.run([BINARIES / "psql", "-q", server.url(database)], input=dump, capture_output=True, check=True)
