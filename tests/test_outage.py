"""A database that stops, crashes, freezes, is full, locked or not there, under the production server.

Its PostgreSQL is one of its own: what is done to it is really done.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from hypersecureid.local.postgres import Postgres
from tests.conftest import PROJECT, SET, Server
from tests.tokens import token

TOLD_WITHIN = 3.0  # seconds in which a dead database is told
BACK_WITHIN = 3.0  # seconds in which service resumes


@cache
def bearer() -> str:
    return token(exp=int(time.time()) + 3600)


@dataclass
class Answer:
    """An answer on the wire; `result` is None where the connection broke."""

    result: int | None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def put(port: int, key: str, value: str) -> Answer:
    """One request over a connection of its own."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer()}"}
    body = json.dumps({"request_id": 7, "value_key": key, "value_data": value})
    started = time.monotonic()
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        try:
            connection.request("POST", SET, body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException):
            return Answer(None)
    assert answer == {"request_id": 7, "result": answer["result"]}
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(answer["result"], response.status, names, time.monotonic() - started)


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
        return put(self.server.port, key, value)

    def put_at_once(self, many: int, key: str = "burst {}") -> list[Answer]:
        with ThreadPoolExecutor(many) as executor:
            return list(executor.map(lambda n: self.put(key.format(n)), range(many)))

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

    def drop_connections(self) -> None:
        """End the service's own, so that it has to open others."""
        self.execute("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'userdata'")

    def signal(self, number: signal.Signals) -> None:
        """To all processes of the database server."""
        for pid in [self.postgres.pid, *children(self.postgres.pid)]:
            os.kill(pid, number)

    def assert_back(self) -> None:
        """Within a moment from now all requests succeed again."""
        deadline = time.monotonic() + BACK_WITHIN
        in_a_row = 0
        while in_a_row < 3:
            in_a_row = in_a_row + 1 if all(answer.result == 0 for answer in self.put_at_once(30)) else 0
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert self.ready() == (200, True)


@contextmanager
def meanwhile(writers: Sequence[Callable[[threading.Event], Any]]) -> Iterator[list[Future[Any]]]:
    """Let each run until the block is over, however it ends; yields what they will return."""
    over = threading.Event()
    with ThreadPoolExecutor(len(writers)) as executor:
        try:
            yield [executor.submit(writer, over) for writer in writers]
        finally:
            over.set()


def children(parent: int) -> list[int]:
    rows = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, ppid in map(str.split, rows.splitlines()) if int(ppid) == parent]


def migrate(url: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": url},
        check=True,
    )


@pytest.fixture(scope="module")
def running_site(django_db_setup: None, start_server: Callable[..., Server]) -> Iterator[Site]:
    # Not below pytest's own folder, which another run of it may close to the user whom PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="userdata-tests-"))
    postgres = Postgres(folder / "data", "max_connections=20")
    try:
        postgres.start()
        migrate(postgres.url)
        server = start_server(wait="/readyz", DATABASE_URL=postgres.url, WORKERS="2", MAX_KEYS_PER_APP="2000")
        yield Site(postgres, server)
        server.stop()
        assert "Traceback" not in server.log.read_text()
    finally:
        postgres.close()
        shutil.rmtree(folder)


@pytest.fixture
def site(running_site: Site) -> Site:
    """The service over an empty table, with its database there."""
    running_site.execute("TRUNCATE userdata_storedvalue")
    running_site.assert_back()
    running_site.execute("TRUNCATE userdata_storedvalue")
    return running_site


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


@pytest.mark.parametrize(
    ("outage", "seconds"),
    [
        pytest.param(stopped, 10.5, id="stopped for longer than a pool is patient"),
        pytest.param(crashed, 0, id="crashed"),
        pytest.param(killed, 0, id="killed"),
        pytest.param(frozen, 3, id="frozen"),
    ],
)
def test_an_outage_is_told_soon_and_ends_by_itself(site: Site, outage: Any, seconds: float) -> None:
    assert site.put("kept", "before").result == 0

    with outage(site):
        began = time.monotonic()
        for answer in site.put_at_once(100):
            assert_told(answer)
        assert_told(site.put("kept", "meanwhile"))
        assert site.ready() == (503, False)
        assert httpx.get(f"{site.server.url}/livez", timeout=1).status_code == 200
        while time.monotonic() < began + seconds:
            assert_told(site.put("meanwhile"))
            time.sleep(0.5)
        for answer in site.put_at_once(100 if seconds else 1):
            assert_told(answer)

    site.assert_back()
    rows = site.rows()
    assert outage is frozen or rows["kept"] == ("before", 1)
    assert outage is frozen or "meanwhile" not in rows


def test_a_write_told_to_have_failed_is_not_made_when_the_database_thaws(site: Site) -> None:
    assert site.put("kept", "before").result == 0

    with frozen(site):
        assert_told(site.put("kept", "meanwhile"))

    site.assert_back()
    assert site.rows()["kept"] == ("before", 1)


@pytest.mark.parametrize(
    "outages",
    [
        pytest.param([killed, crashed, killed], id="killed, crashed and killed"),
        pytest.param([frozen, stopped, frozen], id="frozen, stopped and frozen"),
    ],
)
def test_what_was_acknowledged_is_there_after_every_outage(site: Site, outages: list[Any]) -> None:
    """Each writer counts up its own key. What it ends with is what was acknowledged last, or was under way."""

    def write(number: int, over: threading.Event) -> tuple[int, int, int]:
        attempted = acknowledged = successes = 0
        while not over.is_set():
            attempted += 1
            if site.put(f"writer {number}", str(attempted)).result == 0:
                acknowledged = attempted
                successes += 1
            else:
                time.sleep(0.02)
        return acknowledged, attempted, successes

    with meanwhile([partial(write, number) for number in range(12)]) as writers:
        for outage in outages:
            time.sleep(0.6)
            with outage(site):
                time.sleep(0.4 if outage is not frozen else 2)
        site.assert_back()
        time.sleep(0.3)

    rows = site.rows()
    for number, writer in enumerate(writers):
        acknowledged, attempted, successes = writer.result()
        value, revision = rows[f"writer {number}"]
        assert successes > 20
        assert acknowledged <= int(value) <= attempted
        assert successes <= revision <= attempted


def test_a_late_write_of_a_frozen_connection_overwrites_nothing(site: Site) -> None:
    """Requests go on over other connections; when it thaws, what it was sent is out of date."""
    assert site.put("kept", "0").result == 0
    pids = [pid for (pid,) in site.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'userdata'")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        in_a_row = number = 0
        while in_a_row < 6:
            number += 1
            assert time.monotonic() < frozen_at + 2 * (TOLD_WITHIN + 1)  # each worker has to find out
            answer = site.put("kept", str(number))
            if answer.result == 0:
                in_a_row += 1
            else:
                assert_told(answer)
                in_a_row = 0
                time.sleep(0.1)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)

    assert site.rows()["kept"][0] == str(number)


def test_a_locked_row_holds_up_its_own_key_alone(site: Site) -> None:
    assert site.put("locked", "before").result == 0

    def write(key: str, over: threading.Event) -> list[Answer]:
        answers = []
        while not over.is_set():
            answers.append(site.put(key))
            time.sleep(0.05)
        return answers

    keys = ["locked"] * 4 + [f"other {number}" for number in range(8)]
    with psycopg.connect(site.postgres.url) as holder:
        holder.execute("SELECT FROM userdata_storedvalue WHERE key = 'locked' FOR UPDATE")
        with meanwhile([partial(write, key) for key in keys]) as writers:
            time.sleep(3)

    for key, writer in zip(keys, writers, strict=True):
        answers = writer.result()
        assert len(answers) >= 2
        if key == "locked":
            for answer in answers[:-1]:  # the lock may be gone before the last
                assert_told(answer)
        else:
            assert {answer.result for answer in answers} == {0}
            assert max(answer.seconds for answer in answers) < TOLD_WITHIN
    deadline = time.monotonic() + BACK_WITHIN
    while site.put("locked", "after").result != 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    value, revision = site.rows()["locked"]
    assert value == "after"
    assert revision <= 6  # before, after, and what came last of the four
    site.assert_back()


def test_a_locked_table_is_told_to_all(site: Site) -> None:
    with psycopg.connect(site.postgres.url) as holder:
        holder.execute("LOCK TABLE userdata_storedvalue IN ACCESS EXCLUSIVE MODE")
        for answer in site.put_at_once(100):
            assert_told(answer)

    assert site.rows() == {}
    site.assert_back()


def test_no_connection_left_is_told_and_ends_by_itself(site: Site) -> None:
    others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'userdata'"
    with ExitStack() as hoard:
        ours = hoard.enter_context(psycopg.connect(site.postgres.url, autocommit=True))
        while ours.execute(others).fetchall() != [(0,)]:
            ours.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'userdata'")
            try:
                while True:
                    hoard.enter_context(psycopg.connect(site.postgres.url))
            except psycopg.OperationalError:
                """There is no connection left."""
        for answer in site.put_at_once(100):
            assert_told(answer)
        assert site.ready() == (503, False)
        assert ours.execute(others).fetchall() == [(0,)]

    assert site.rows() == {}
    site.assert_back()


def test_connections_that_the_server_ends_are_replaced(site: Site) -> None:
    """As at a failover, or when an idle connection is cut."""
    for _ in range(3):
        site.drop_connections()
        assert [site.put(str(number)).result for number in range(20)] == [0] * 20


def test_a_database_that_takes_no_writes_is_told_and_ends_by_itself(site: Site) -> None:
    site.execute("ALTER DATABASE userdata SET default_transaction_read_only = on")
    try:
        site.drop_connections()
        for answer in site.put_at_once(20):
            assert_told(answer)
        assert site.rows() == {}
    finally:
        site.execute("ALTER DATABASE userdata RESET ALL", database="postgres")

    site.assert_back()


def test_a_worker_that_is_killed_is_replaced(site: Site) -> None:

    def write(number: int, over: threading.Event) -> tuple[list[int | None], int]:
        results = []
        while not over.is_set():
            results.append(site.put(f"writer {number}", str(len(results))).result)
        return results, max(n for n, result in enumerate(results) if result == 0)

    def workers() -> set[int]:
        return set(children(site.server.process.pid))

    before = workers()
    with meanwhile([partial(write, number) for number in range(8)]) as writers:
        time.sleep(0.5)
        os.kill(max(before), signal.SIGKILL)
        deadline = time.monotonic() + 15
        while not workers() - before:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    for number, writer in enumerate(writers):
        results, acknowledged = writer.result()
        assert set(results) <= {0, None}
        assert results.count(None) <= 3  # those that the killed worker had
        assert acknowledged <= int(site.rows()[f"writer {number}"][0])
    site.assert_back()


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

    with frozen(site):
        assert_told(late.put())
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
    assert "Traceback" not in server.log.read_text()
