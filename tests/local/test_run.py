"""`make run`: from the first start to every way of ending, in copies of the project."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.local.copies import NOBODY, Copy, Run, assert_one_sentence, bash, call, free_port

pytestmark = pytest.mark.slow


def assert_ended_cleanly(run: Run, pids: dict[int, str], since: float) -> None:
    run.wait_until_over(pids)
    assert time.monotonic() - since < 5
    assert run.copy.left_over() == []
    assert not (run.copy.folder / ".local" / "database_url").exists()
    assert "Traceback" not in run.output


# --- The first start, and what runs beside it -----------------------------------------------------


def test_the_first_run_makes_all_it_needs_and_ends_without_a_trace(clone: Copy, run: Callable[..., Run]) -> None:
    assert_one_sentence(clone.command("make", "psql"))
    first = run(clone)
    assert first.wait_until_ready() < 30
    assert re.search("The admin's user is «admin», the password \\S{16} ", first.output)
    assert "eyJ" not in first.output  # a token is for a terminal alone
    assert "HOST" not in first.output

    clone.greet(first.curl)

    token = clone.command("make", "-s", "token", "SUB=a user", "CLIENT=an-app", "SCOPE=email user-data-set")
    assert (token.returncode, token.stderr, token.stdout.count("\n")) == (0, "", 1)
    assert call(first, token.stdout.strip()) == {"request_id": 7, "result": 0}
    assert clone.execute("SELECT app FROM userdata_storedvalue WHERE owner_id = 'a user'") == [("an-app",)]
    for setting, result in (("SCOPE=email", -3), ("SCOPE=", -3), ("TTL=-60", -2)):
        bearer = clone.command("make", "-s", "token", setting).stdout.strip()
        assert call(first, bearer) == {"request_id": 7, "result": result}

    # Another one in the same folder must not take this one's database away, whether or not its port is free.
    for port in (first.port, free_port()):
        second = clone.command("make", "run", PORT=str(port))
        assert_one_sentence(second)
        assert call(first, clone.command("make", "-s", "token").stdout.strip()) == {"request_id": 7, "result": 0}

    assert (clone.folder / ".local" / "database_url").stat().st_mode & 0o777 == 0o600
    asked = clone.command("make", "-s", "psql", stdin="SELECT 6 * 7, current_database()")
    assert "42 | userdata" in asked.stdout
    managed = clone.command("make", "-s", "manage", "CMD=showmigrations --plan userdata")
    assert "[X]  userdata.0001_initial" in managed.stdout
    wrong = clone.command("make", "-s", "manage", "CMD=loaddata 'no such file'")
    assert "no such file" in wrong.stderr

    pids = first.tree()
    for part in ("hypersecureid.local.run", "gunicorn", "/postgres "):
        assert first.find(part)
    first.process.terminate()
    assert_ended_cleanly(first, pids, time.monotonic())
    assert clone.base.stat().st_mode & 0o777 == 0o700


def test_the_next_run_finds_the_data_and_ctrl_c_ends_it(clone: Copy, run: Callable[..., Run]) -> None:
    second = run(clone, terminal=True, HOST="127.0.0.2")
    assert second.wait_until_ready() < 20
    assert "the password" not in second.output
    assert "Bearer eyJ" in second.curl
    assert "make" not in second.curl

    clone.greet(second.curl)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", second.port), timeout=2)

    pids = second.tree()
    assert second.process.stdin is not None
    second.process.stdin.write(b"\x03")
    second.process.stdin.flush()
    assert_ended_cleanly(second, pids, time.monotonic())


@pytest.mark.skipif(not NOBODY, reason="all of this has been done by a plain user")
def test_a_plain_user_can_run_it(copy: Callable[..., Copy], run: Callable[..., Run]) -> None:
    home = copy(**NOBODY)
    started = run(home)
    started.wait_until_ready()

    home.greet(started.curl)
    assert "42" in home.command("make", "-s", "psql", stdin="SELECT 6 * 7").stdout

    pids = started.tree()
    os.killpg(started.process.pid, signal.SIGINT)
    assert_ended_cleanly(started, pids, time.monotonic())


def test_it_uses_the_database_that_is_named(copy: Callable[..., Copy], run: Callable[..., Run]) -> None:
    here = copy()
    ours = urlsplit(os.environ["DATABASE_URL"])
    named = urlunsplit(ours._replace(path="/userdata_run"))
    with psycopg.connect(ours.geturl(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS userdata_run")
        connection.execute("CREATE DATABASE userdata_run")
        started = run(here, DATABASE_URL=named, HOST="0.0.0.0")
        started.wait_until_ready()

        assert "HOST is 0.0.0.0: others in the network can reach the service" in started.output
        assert bash(started.curl) == {"result": 0}
        with psycopg.connect(named) as other:
            assert other.execute("SELECT key, value FROM userdata_storedvalue").fetchall() == [("greeting", "hello")]
        assert not (here.folder / ".local" / "postgres").exists()
        assert started.find("/postgres ") == []

        # Another one on the same port says so; it does not take from the first what `make psql` reads.
        second = here.command("make", "run", DATABASE_URL=named, HOST="0.0.0.0", PORT=str(started.port))
        assert_one_sentence(second)
        assert f"Can't listen on 0.0.0.0 port {started.port}: Address already in use." in second.stderr
        assert "userdata_run" in here.command("make", "-s", "psql", stdin="SELECT current_database()").stdout

        pids = started.tree()
        started.process.terminate()
        assert_ended_cleanly(started, pids, time.monotonic())
        connection.execute("DROP DATABASE userdata_run")


# --- What dies, and what is killed ----------------------------------------------------------------


def kill_main(started: Run) -> None:
    os.kill(started.find("hypersecureid.local.run")[0], signal.SIGKILL)


def kill_make(started: Run) -> None:
    started.process.kill()


@pytest.mark.parametrize("kill", [kill_main, Run.kill, kill_make])
def test_a_run_that_is_killed_takes_all_with_it_and_the_next_goes_on(
    clone: Copy, run: Callable[..., Run], kill: Callable[[Run], None]
) -> None:
    started = run(clone)
    assert started.wait_until_ready() < 15
    clone.greet(started.curl)
    pids = started.tree()

    kill(started)

    started.wait_until_over(pids)


def test_a_database_that_is_killed_is_started_again_but_not_for_ever(clone: Copy, run: Callable[..., Run]) -> None:
    started = run(clone)
    started.wait_until_ready()
    # What those who were killed before could not remove is gone: what is there is the database's and the server's.
    assert len(clone.left_over()) == 2
    pids = started.tree()

    for times in (1, 2, 3):
        os.kill(started.find("/postgres ")[0], signal.SIGKILL)
        while started.output.count("was killed by SIGKILL; starting it again.") < times:
            assert started.process.poll() is None
            time.sleep(0.05)
        clone.greet(wait_until_it_works(started))
        pids |= started.tree()
    os.kill(started.find("/postgres ")[0], signal.SIGKILL)

    assert started.wait_until_over(pids) != 0
    assert "The embedded PostgreSQL was killed by SIGKILL, once more; its log is " in started.output
    assert clone.left_over() == []


def wait_until_it_works(started: Run) -> str:
    """The call, when the service has found its database again."""
    bearer = started.copy.command("make", "-s", "token").stdout.strip()
    while call(started, bearer)["result"] != 0:
        assert time.monotonic() < started.started + 50, started.output
        time.sleep(0.1)
    return started.curl


def test_a_server_that_is_killed_ends_it_with_a_sentence(clone: Copy, run: Callable[..., Run]) -> None:
    started = run(clone)
    started.wait_until_ready()
    pids = started.tree()

    os.kill(started.find("gunicorn")[0], signal.SIGKILL)

    assert started.wait_until_over(pids) != 0
    assert "\nThe server was killed by SIGKILL.\n" in started.output
    assert clone.left_over() == []


# --- What it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/n"}, "nothing listens", id="nobody listens"),
        pytest.param({"DATABASE_URL": "postgresql://u:hunter2@host.invalid/n"}, "is not known", id="no such host"),
        pytest.param({"DATABASE_URL": "mysql://u:hunter2@127.0.0.1/n"}, "DATABASE_URL", id="another database"),
        pytest.param({"PORT": "70000"}, "PORT", id="no port"),
        pytest.param({"JWT_SECRET": "short"}, "JWT_SECRET", id="a short secret"),
        pytest.param({"DEBUG": "1", "HOST": "0.0.0.0"}, "DEBUG", id="DEBUG for all to see"),
    ],
)
def test_it_refuses_to_run_with(clone: Copy, settings: dict[str, str], words: str) -> None:
    started = time.monotonic()

    done = clone.command("make", "run", **settings)

    assert_one_sentence(done)
    assert words in done.stderr
    assert "hunter2" not in done.stderr
    assert time.monotonic() - started < 15
    assert clone.left_over() == []


def test_it_says_what_keeps_it_from_its_own_folder(clone: Copy, tmp_path: Path) -> None:
    """Root may write anywhere, so the folder's place is taken."""
    state = clone.folder / ".local"
    state.rename(tmp_path / "kept")
    state.touch()

    done = clone.command("make", "run")

    state.unlink()
    (tmp_path / "kept").rename(state)
    assert_one_sentence(done)
    assert ".local" in done.stderr
