"""The embedded PostgreSQL: for root, in the way of another instance, and after its process was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from hypersecureid.local import LocalError, environment, postgres, programs
from hypersecureid.local.postgres import Postgres

# Starts a server and prints its pid and its folder for sockets, then waits to be killed.
KILLED = """
import sys, time
from pathlib import Path
from hypersecureid.local.postgres import Postgres
server = Postgres(Path(sys.argv[1]))
server.start()
print(server.pid, server.sockets.parent, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Below a folder that its owner alone can enter, as homes are."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    return home / "it's mine" / "data"


@pytest.fixture
def server(data: Path) -> Iterator[Postgres]:
    server = Postgres(data)
    yield server
    server.close()


def modes(*folders: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mode for folder in folders for path in (folder, *folder.parents, *folder.rglob("*"))}


def test_it_runs_and_opens_no_folder_to_others(data: Path, server: Postgres) -> None:
    data.parent.mkdir(mode=0o700)
    before = modes(data.parent, programs.PACKAGE)

    server.start()

    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("userdata",)
    after = modes(data.parent, programs.PACKAGE)
    assert {path: after[path] for path in before} == before
    assert data.stat().st_mode & 0o777 == 0o700
    pid = server.pid
    server.close()
    assert has_ended(pid)
    assert not server.sockets.parent.exists()


def has_ended(pid: int) -> bool:
    """Gone, or a zombie, which only init can bury."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_its_data_is_nobody_else_s_while_it_runs(data: Path, server: Postgres) -> None:
    server.start()
    other = Postgres(data)

    with pytest.raises(LocalError, match="Another process uses the database in "):
        other.start()

    other.close()
    assert server.ended is None


def test_it_goes_on_after_its_process_was_killed(data: Path) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, data], cwd=environment.PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout
    pid, folder = killed.stdout.readline().split()

    killed.kill()
    killed.communicate()
    with postgres.running(data) as url:  # at once, while the other may still be about to end
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert (data / "postmaster.pid").read_text().split()[0] != pid

    assert has_ended(int(pid))
    assert not Path(folder).exists()


@pytest.mark.parametrize("half_written", [False, True])
def test_what_a_killed_server_wrote_does_not_keep_it_from_starting(
    data: Path, server: Postgres, half_written: bool
) -> None:
    """The number of another process, as after a reboot or in a container, where numbers are few; or nothing yet."""
    server.start()
    left = (data / "postmaster.pid").read_text().split("\n")
    server.stop()
    (data / "postmaster.pid").write_text("" if half_written else "\n".join([str(os.getpid()), *left[1:]]))

    server.start()

    assert server.ended is None


def test_it_starts_again_after_it_was_killed_under_load(server: Postgres) -> None:
    server.start()
    busy = psycopg.connect(server.url)
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while server.ended is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.ended == "was killed by SIGKILL"

    server.restart()

    busy.close()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_it_says_why_it_does_not_start(data: Path) -> None:
    failing = postgres.running(data, "shared_buffers=x")
    with pytest.raises(LocalError, match=r"did not start: .*shared_buffers"), failing:
        pass
