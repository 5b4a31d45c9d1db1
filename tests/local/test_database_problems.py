"""What operators are told of a database that can't be used; each fault is made with a real server."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from hypersecureid import database_problems
from hypersecureid.local.environment import PROJECT
from hypersecureid.local.postgres import Postgres

SETTINGS = {
    "SECRET_KEY": "only for tests " * 4,
    "ALLOWED_HOSTS": "localhost",
    "JWT_ISSUER": "https://issuer.example",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "DJANGO_SUPERUSER_PASSWORD": "hunter2",
}
ROLES = """
CREATE ROLE app LOGIN PASSWORD 'hunter2';
CREATE ROLE busy LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0;
CREATE ROLE locked NOLOGIN PASSWORD 'hunter2';
CREATE DATABASE empty;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that asks everybody but `postgres` for a password."""
    server = Postgres(tmp_path_factory.mktemp("problems") / "data")
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in ROLES.strip().splitlines():
            connection.execute(statement.encode())
        rules = "local all postgres trust\nlocal all shut reject\nlocal all all scram-sha-256\n"
        (server.data / "pg_hba.conf").write_text(rules)
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.close()


def url(server: Postgres, user: str, password: str = "hunter2", database: str = "userdata") -> str:
    return f"postgresql://{user}:{password}@/{database}?host={quote(str(server.sockets), safe='')}"


def failure(conninfo: str, statement: str = "SELECT 1") -> psycopg.Error:
    with pytest.raises(psycopg.Error) as problem, psycopg.connect(conninfo, connect_timeout=2) as connection:
        connection.execute(statement.encode())
    return problem.value


@pytest.mark.parametrize(
    ("user", "password", "database", "sentence"),
    [
        pytest.param("app", "wrong", "userdata", "The database refuses the user or the password", id="password"),
        pytest.param("nobody", "hunter2", "userdata", "The database refuses the user or the password", id="user"),
        pytest.param("shut", "hunter2", "userdata", "The database refuses the user or the password", id="pg_hba"),
        pytest.param("app", "hunter2", "elsewhere", "The database that DATABASE_URL names does not exist", id="none"),
        pytest.param("busy", "hunter2", "userdata", "The database has no connection left", id="limit"),
    ],
)
def test_what_the_server_refuses_is_told_apart(
    server: Postgres, user: str, password: str, database: str, sentence: str
) -> None:
    told = database_problems.describe(failure(url(server, user, password, database)))

    assert told.startswith(sentence)
    assert_harmless(told)


@pytest.mark.parametrize(
    ("conninfo", "sentence"),
    [
        pytest.param("postgresql://u@127.0.0.1:1/n", "The connection to the database is refused", id="port"),
        pytest.param("postgresql://u@/n?host=%2Fnowhere", "The connection to the database is refused", id="socket"),
        pytest.param("postgresql://u@host.invalid/n", "The host in DATABASE_URL is not known.", id="host"),
    ],
)
def test_a_server_that_is_not_there_is_told_apart(conninfo: str, sentence: str) -> None:
    told = database_problems.describe(failure(conninfo))

    assert told.startswith(sentence)
    assert_harmless(told)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        pytest.param("SELECT * FROM userdata_storedvalue", database_problems.NOT_MIGRATED, id="no table"),
        pytest.param("CREATE TABLE public.made (a int)", database_problems.LACKS_PRIVILEGE, id="no privilege"),
        pytest.param("SELECT 1/0", "The database failed with SQLSTATE 22012.", id="another error"),
    ],
)
def test_what_a_statement_meets_is_told_apart(server: Postgres, statement: str, sentence: str) -> None:
    assert database_problems.describe(failure(url(server, "app"), statement)) == sentence


def test_a_server_that_is_frozen_does_not_answer_in_time(server: Postgres) -> None:
    async def wait() -> None:
        pool = AsyncConnectionPool(url(server, "app"), min_size=0, max_size=1, open=False)
        await pool.open()
        try:
            await pool.getconn(timeout=0.2)
        finally:
            await pool.close(timeout=0)

    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(psycopg.OperationalError) as exhausted:
            asyncio.run(wait())
        assert database_problems.describe(exhausted.value) == database_problems.NO_ANSWER
        assert database_problems.describe(failure(url(server, "app"))) == database_problems.NO_ANSWER
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert database_problems.describe(TimeoutError()) == database_problems.NO_ANSWER


def manage(conninfo: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=SETTINGS | {"DATABASE_URL": conninfo},
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("password", "command", "sentence"),
    [
        pytest.param("wrong", ["migrate"], database_problems.REFUSES_USER, id="password"),
        pytest.param("hunter2", ["migrate"], database_problems.LACKS_PRIVILEGE, id="privilege"),
        pytest.param(
            "hunter2",
            ["createsuperuser", "--no-input", "--username=a", "--email=a@b.example"],
            database_problems.NOT_MIGRATED,
            id="not migrated",
        ),
    ],
)
def test_a_command_that_fails_ends_with_the_sentence(
    server: Postgres, password: str, command: list[str], sentence: str
) -> None:
    done = manage(url(server, "app", password, "empty"), *command)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == sentence
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_a_traceback_is_there_for_who_asks(server: Postgres) -> None:
    done = manage(url(server, "app", "wrong"), "migrate", "--traceback")

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "OperationalError" in done.stderr


def test_a_server_that_ends_says_so_to_new_connections_and_old_ones(server: Postgres) -> None:
    """The last test: the server is gone then."""
    busy = psycopg.connect(server.url, autocommit=True)
    os.kill(server.pid, signal.SIGTERM)  # it waits for those who are there
    while "smart shutdown" not in server.log.read_text():
        time.sleep(0.01)
    assert database_problems.describe(failure(server.url)) == database_problems.STARTING

    ending = threading.Thread(target=server.stop)
    ending.start()
    with pytest.raises(psycopg.OperationalError) as broken:
        busy.execute("SELECT pg_sleep(10)")

    ending.join()
    busy.close()
    assert database_problems.describe(broken.value) == database_problems.BROKE_OFF


def assert_harmless(told: str) -> None:
    """One sentence in ASCII, in which no secret stands."""
    assert told.isascii()
    assert told.endswith(".")
    assert "\n" not in told
    assert "hunter2" not in told


def test_every_sentence_is_harmless() -> None:
    sentences = [value for name, value in vars(database_problems).items() if name.isupper() and isinstance(value, str)]
    assert len(sentences) >= 12
    for sentence in sentences:
        assert_harmless(sentence)
