"""The one PostgreSQL that every candidate writes to, each to a database of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from hypersecureid.local import postgres

# What is asserted before anything is measured, and reported.
DURABILITY = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
REPORTED = (*DURABILITY, "wal_sync_method", "shared_buffers", "max_connections", "server_version")

PROGRAMS = postgres.BINARIES


@dataclass(frozen=True)
class Cluster:
    """A running server; `url` names one of its databases."""

    url: str

    def url_of(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def create(self, database: str) -> str:
        """An empty database, whatever was there before; returns its URL."""
        self.drop(database)
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url_of(database)

    def drop(self, database: str) -> None:
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def settings(self) -> dict[str, str]:
        """The settings that decide what durable means here. Raises `RuntimeError` where one is not the default."""
        shown = {name: str(query(self.url, f"SHOW {name}")[0][0]) for name in REPORTED}
        for name, wanted in DURABILITY.items():
            if shown[name] != wanted:
                raise RuntimeError(f"PostgreSQL runs with {name} = {shown[name]}; the benchmark wants {wanted}.")
        return shown

    def checkpoint(self) -> None:
        """Begin each measurement from the same place in the write-ahead log."""
        self._run(sql.SQL("CHECKPOINT"))

    def _run(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """The embedded PostgreSQL with its defaults, over a folder of its own."""
    with postgres.running(folder) as url:
        yield Cluster(url)


def query(url: str, text: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows that one statement answers; texts come from this package only."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text, parameters or None)
        return cursor.fetchall() if cursor.description else []


def load_file(url: str, file: Path) -> None:
    """Run a file of SQL in one transaction."""
    query(url, file.read_text())
