"""The production server over a PostgreSQL of its own: what is done to that is really done."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException
from typing import Any

import httpx2 as httpx
import psutil
import psycopg

from hypersecureid.local.postgres import Postgres
from tests.conftest import SET, Server
from tests.tokens import token

TOLD_WITHIN = 3.0  # seconds in which a dead database is told
BACK_WITHIN = 3.0  # seconds in which service resumes

ROOT = "/user-data/by-user-id/"
OTHER_CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (f"{ROOT}get", {"value_keys": ["kept"]}, {"values": []}),
    (f"{ROOT}list-get", {}, {"keys_private": [], "keys_public": []}),
    (f"{ROOT}shared-list-get", {}, {"keys_shared": [], "next_search_id": ""}),
    (f"{ROOT}delete", {"value_keys": ["kept"]}, {"keys_delete_results": []}),
]


@cache
def bearer() -> str:
    return token(exp=int(time.time()) + 3600)


@dataclass
class Answer:
    """An answer on the wire; `result` is None where the connection broke."""

    result: int | None
    fields: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def call(port: int, path: str, body: dict[str, Any]) -> Answer:
    """One request over a connection of its own."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer()}"}
    started = time.monotonic()
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        try:
            connection.request("POST", path, json.dumps(body | {"request_id": 7}), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException):
            return Answer(None)
    assert answer.pop("request_id") == 7
    result = answer.pop("result")
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(result, answer, response.status, names, time.monotonic() - started)


def assert_told(answer: Answer) -> None:
    """The client is told, soon, that this is temporary."""
    assert (answer.status, answer.result) == (200, -4)
    assert answer.headers["retry-after"].isdecimal()
    assert answer.headers["x-result-detail"]
    assert answer.seconds < TOLD_WITHIN


@dataclass
class Site:
    """A database server, and the service over it."""

    postgres: Postgres
    server: Server

    def put(self, key: str = "key", value: str = "value") -> Answer:
        return call(self.server.port, SET, {"value_key": key, "value_data": value})

    def delete(self, key: str) -> Answer:
        return call(self.server.port, f"{ROOT}delete", {"value_keys": [key]})

    def put_at_once(self, many: int, key: str = "burst {}") -> list[Answer]:
        with ThreadPoolExecutor(many) as executor:
            return list(executor.map(lambda n: self.put(key.format(n)), range(many)))

    def assert_all_told(self) -> None:
        """Every action says that it can't be done now."""
        for path, body, nothing in OTHER_CALLS:
            answer = call(self.server.port, path, body)
            assert_told(answer)
            assert answer.fields == nothing

    def ready(self) -> tuple[int, Any]:
        """The status of /readyz, and whether it says that the database is usable."""
        response = httpx.get(f"{self.server.url}/readyz", timeout=5)
        return response.status_code, response.json()["database"]["usable"]

    def rows(self) -> dict[str, tuple[str, int]]:
        """Value and revision by key."""
        rows = self.execute("SELECT key, value, revision FROM userdata_storedvalue")
        return {key: (value, revision) for key, value, revision in rows}

    def execute(self, statement: str, database: str = "userdata") -> list[Any]:
        with psycopg.connect(self.postgres.url, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def sessions(self) -> list[int]:
        """The processes of the database that serve the service's connections."""
        return [pid for (pid,) in self.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'userdata'")]

    def end_sessions(self) -> None:
        """So that the service has to open others."""
        self.execute("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'userdata'")

    def signal(self, number: signal.Signals) -> None:
        """To all processes of the database server."""
        for pid in [self.postgres.pid, *children(self.postgres.pid)]:
            with suppress(ProcessLookupError):  # a session has ended meanwhile
                os.kill(pid, number)

    def assert_back(self) -> None:
        """Within a moment from now all requests succeed again."""
        deadline = time.monotonic() + BACK_WITHIN
        in_a_row = 0
        while in_a_row < 3:
            in_a_row = in_a_row + 1 if all(answer.result == 0 for answer in self.put_at_once(30)) else 0
            assert time.monotonic() < deadline
        assert self.ready() == (200, True)


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    site.postgres.stop()
    yield
    site.postgres.start()


@contextmanager
def crashed(site: Site) -> Iterator[None]:
    site.postgres.stop(signal.SIGQUIT)
    yield
    site.postgres.start()


@contextmanager
def killed(site: Site) -> Iterator[None]:
    site.signal(signal.SIGKILL)
    site.postgres.stop()
    yield
    site.postgres.start()


@contextmanager
def frozen(site: Site) -> Iterator[None]:
    site.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        site.signal(signal.SIGCONT)


@contextmanager
def meanwhile(callers: Sequence[Callable[[threading.Event], Any]]) -> Iterator[list[Future[Any]]]:
    """Let each run until the block is over, however it ends; yields what they will return."""
    over = threading.Event()
    with ThreadPoolExecutor(len(callers)) as executor:
        try:
            yield [executor.submit(caller, over) for caller in callers]
        finally:
            over.set()


def children(parent: int) -> list[int]:
    return [child.pid for child in psutil.Process(parent).children()]
