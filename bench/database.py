"""The databases of a run: one PostgreSQL, a database for each side and table, and the rows in it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench.scenarios import OURS, Table
from bench.tokens import APP, USER_ID_SQL

FILL = """
INSERT INTO {table} ({kind} owner_id, key, value, app, access_scope)
SELECT {user} {user_id}, %(prefix)s || k, 'the value that was there first', %(app)s, %(scope)s
FROM generate_series(%(first)s::int, %(last)s::int) AS n, generate_series(1, %(keys)s::int) AS k
"""
# How many rows there are, and those of the last sixth of the time by those of the first.
GROWTH = """
SELECT count(*), count(*) FILTER (WHERE created_at > ends - span)::float
    / greatest(1, count(*) FILTER (WHERE created_at < begins + span))
FROM {table}, (SELECT min(created_at) AS begins, max(created_at) AS ends FROM {table}),
    make_interval(secs => %(span)s) AS span
"""


class Cluster:
    """A running PostgreSQL; `url` names one of its databases."""

    def __init__(self, url: str) -> None:
        self.url = url

    def url_of(self, side: str, table: Table) -> str:
        return urlsplit(self.url)._replace(path=f"/{_database(side, table)}").geturl()

    def create(self, side: str, table: Table) -> str:
        """An empty database, whatever was there before; returns its URL."""
        query(self.url, f"DROP DATABASE IF EXISTS {_database(side, table)} WITH (FORCE)")
        query(self.url, f"CREATE DATABASE {_database(side, table)}")
        return self.url_of(side, table)

    def checkpoint(self) -> None:
        """Begin each measurement from the same place in the write-ahead log."""
        query(self.url, "CHECKPOINT")

    def settings(self, *names: str) -> dict[str, str]:
        return {name: str(query(self.url, f"SHOW {name}")[0][0]) for name in names}


def query(url: str, statement: str, values: Mapping[str, object] | None = None) -> list[Any]:
    """The rows of a statement; its text comes from this package."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def fill(url: str, side: str, table: Table) -> None:
    """Store the table's rows; each user's keys come one after the other."""
    name = _table(side)
    if not table.autovacuum:
        query(url, f"ALTER TABLE {name} SET (autovacuum_enabled = false)")
    kind, user = ("owner_kind,", "'user',") if side == OURS else ("", "")
    statement = FILL.format(table=name, kind=kind, user=user, user_id=USER_ID_SQL)
    for rows in table.rows:
        values = {"first": rows.first_user, "last": rows.last_user, "keys": rows.keys}
        if rows.public:
            query(url, statement, values | {"prefix": "shared-", "app": "other-app", "scope": 1})
        else:
            query(url, statement, values | {"prefix": "key-", "app": APP, "scope": 0})
    if table.analyzed:
        query(url, f"ANALYZE {name}")


def growth(url: str, side: str, seconds: int) -> tuple[int, float]:
    """The number of rows, and how many came in the last sixth of `seconds` ÷ those in the first sixth."""
    [row] = query(url, GROWTH.format(table=_table(side)), {"span": seconds / 6})
    return int(row[0]), float(row[1])


def _database(side: str, table: Table) -> str:
    return f"{side.lower()}_{table.name}"


def _table(side: str) -> str:
    return "userdata_storedvalue" if side == OURS else "user_value"
