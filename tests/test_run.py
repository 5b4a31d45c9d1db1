"""`make run` and `make token`, from the first start to every way of ending, in copies of the project."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import jwt
import psycopg
import pytest

from tests.conftest import PROJECT, SET, free_port

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ["make", "bash", "curl", "ps"])), reason="needs make, bash, curl and ps"
)

CODE = [
    "Makefile",
    "manage.py",
    "requirements.txt",
    "requirements-dev.txt",
    "pyproject.toml",
    "hypersecureid",
    "userdata",
]
NOBODY: dict[str, Any] = {}
if os.geteuid() == 0:
    entry = pwd.getpwnam("nobody")
    NOBODY = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

# `make run` on a terminal: the wrapper passes on what is typed at its own stdin.
ON_A_TERMINAL = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])"]


@dataclass
class Copy:
    """The project as someone has cloned it, with its environment installed."""

    folder: Path
    temporary: Path
    runs_as: dict[str, Any] = field(default_factory=dict)
    greetings: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.temporary),
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
        }

    def command(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            **self.runs_as,
        )

    def left_over(self) -> list[Path]:
        return list(self.temporary.glob("userdata-*"))

    def greet(self, call: str) -> None:
        """Make the call that was printed: each counts, over all runs."""
        assert bash(call) == {"result": 0}
        self.greetings += 1
        rows = self.execute("SELECT value, app, revision FROM userdata_storedvalue WHERE key = 'greeting'")
        assert rows == [("hello", "demo-app", self.greetings)]

    def execute(self, statement: str) -> list[Any]:
        """Ask its embedded database."""
        (sockets,) = [path.parent for path in self.temporary.glob("userdata-*/.s.PGSQL.5432")]
        url = f"postgresql://postgres@/userdata?host={quote(str(sockets), safe='')}"
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()


def install(venv: Path, runs_as: dict[str, Any]) -> None:
    """The project's own environment, in a folder's place for it."""
    ours = PROJECT / ".venv"
    try:
        subprocess.run([ours / "bin" / "python", "-c", ""], check=True, **runs_as)
        venv.symlink_to(ours)
    except PermissionError:
        # This Python is for root alone; one of the system's, of the same version, can use what is installed for it.
        version = "python{}.{}".format(*sys.version_info)
        if not (python := shutil.which(version, path="/usr/bin")):
            pytest.skip("there is no Python here that another user may run")
        subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
        (packages,) = venv.glob("lib/*/site-packages")
        (packages / "ours.pth").write_text(f"{ours}/lib/{version}/site-packages")
        (venv / "installed").touch()


@pytest.fixture(scope="module")
def copy() -> Iterator[Callable[..., Copy]]:
    """Make a copy, in a folder whose path is 150 characters long, with spaces and an apostrophe in it."""
    made: list[Path] = []

    def copy(**runs_as: Any) -> Copy:
        base = Path(tempfile.mkdtemp(prefix="userdata-tests-"))
        made.append(base)
        folder = base / "it's a folder with spaces ".ljust(149 - len(str(base)), "x")
        assert len(str(folder)) == 150
        temporary = base / "tmp"
        for new in (folder, temporary):
            new.mkdir()
        for name in CODE:
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(PROJECT / name, folder / name)
        install(folder / ".venv", runs_as)
        for name in ("requirements.txt", "requirements-dev.txt"):
            os.utime(folder / name, (0, 0))  # older than the environment: nothing is installed
        if runs_as:
            for path in (base, *base.rglob("*")):
                os.chown(path, runs_as["user"], runs_as["group"], follow_symlinks=False)
        base.chmod(0o755)
        return Copy(folder, temporary, runs_as)

    yield copy
    for base in made:
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def clone(copy: Callable[..., Copy]) -> Copy:
    """The copy that most tests use, one after the other: what one leaves is what the next finds."""
    return copy()


class Run:
    """`make run`, from its start until it is over."""

    def __init__(self, copy: Copy, *, terminal: bool = False, **environment: str) -> None:
        self.copy = copy
        self.port = free_port()
        self.host = environment.get("HOST", "127.0.0.1")
        self.log = copy.temporary / "log"
        self.started = time.monotonic()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*(ON_A_TERMINAL if terminal else []), "make", "run"],
                cwd=copy.folder,
                env=copy.environment | {"PORT": str(self.port)} | environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **copy.runs_as,
            )

    @property
    def output(self) -> str:
        return self.log.read_text().replace("\r\n", "\n")

    def wait_until_ready(self) -> float:
        """The seconds since the start."""
        while not self.curl.endswith("}'\n"):
            assert self.process.poll() is None, self.output
            assert time.monotonic() < self.started + 50, self.output
            time.sleep(0.05)
        assert f"Ready on http://{self.host}:{self.port} " in self.output
        return time.monotonic() - self.started

    @property
    def curl(self) -> str:
        """The call that it prints."""
        call, end, _ = self.output.partition("Try:\n\n")[2].partition("}'\n")
        return call + end

    def tree(self) -> dict[int, str]:
        """The command of each process that belongs to it, by pid, the eldest first."""
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
        found = {self.process.pid: "the one started here"}
        while more := {int(pid): args for pid, ppid, args in rows if int(ppid) in found and int(pid) not in found}:
            found |= more
        return found

    def find(self, words: str) -> list[int]:
        return [pid for pid, command in self.tree().items() if words in command]

    def wait_until_over(self, pids: Any) -> int:
        """The exit code, when every one of the processes is gone; zombies, which only init can bury, are."""
        deadline = time.monotonic() + 15
        code = self.process.wait(15)
        while True:
            listing = subprocess.run(
                ["ps", "-A", "-ww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True
            )
            rows = (line.split(None, 2) for line in listing.stdout.splitlines())
            alive = [args for pid, stat, args in rows if int(pid) in pids and not stat.startswith("Z")]
            if not alive:
                break
            assert time.monotonic() < deadline, alive
            time.sleep(0.1)
        if self.process.stdin:
            self.process.stdin.close()
        return code


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    """Start `make run`; whatever a failed test leaves of it is killed."""
    runs: list[Run] = []

    def run(copy: Copy, **settings: Any) -> Run:
        runs.append(Run(copy, **settings))
        return runs[-1]

    yield run
    for started in runs:
        for pid in started.tree() if started.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        started.wait_until_over([])
        for left in started.copy.left_over():
            shutil.rmtree(left)


def bash(command: str, **environment: str) -> Any:
    """What a call answers."""
    done = subprocess.run(
        ["bash", "-c", command],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def call(run: Run, bearer: str) -> Any:
    """Set a key as the bearer of a token."""
    return bash(
        'curl -s "$URL" -H "Content-Type: application/json" -H "Authorization: Bearer $TOKEN" -d "$BODY"',
        URL=f"http://{run.host}:{run.port}{SET}",
        TOKEN=bearer,
        BODY='{"request_id": 7, "value_key": "theme", "value_data": "dark"}',
    )


# --- The first start, and what runs beside it -----------------------------------------------------


def test_the_first_run_makes_all_it_needs_and_ends_without_a_trace(clone: Copy, run: Callable[..., Run]) -> None:
    first = run(clone)
    assert first.wait_until_ready() < 30
    assert re.search("The admin's user is «admin», the password \\S{16} ", first.output)
    assert "eyJ" not in first.output  # a token is for a terminal alone

    clone.greet(first.curl)

    token = clone.command("make", "-s", "token", "SUB=a user", "CLIENT=an-app", "SCOPE=email user-data-set", "TTL=60")
    assert (token.returncode, token.stderr, token.stdout.count("\n")) == (0, "", 1)
    claims = jwt.decode(token.stdout.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["azp"], claims["scope"]) == ("a user", "an-app", "email user-data-set")
    assert claims["exp"] - claims["iat"] == 60
    assert call(first, token.stdout.strip()) == {"request_id": 7, "result": 0}
    assert clone.execute("SELECT app FROM userdata_storedvalue WHERE owner_id = 'a user'") == [("an-app",)]
    for setting, result in (("SCOPE=email", -3), ("SCOPE=", -3), ("TTL=-60", -2)):
        bearer = clone.command("make", "-s", "token", setting).stdout.strip()
        assert call(first, bearer) == {"request_id": 7, "result": result}

    # Another one in the same folder must not take this one's database away, whether or not its port is free.
    for port in (first.port, free_port()):
        second = clone.command("make", "run", PORT=str(port))
        assert second.returncode != 0
        assert_one_sentence(second)
        assert call(first, clone.command("make", "-s", "token").stdout.strip()) == {"request_id": 7, "result": 0}

    workers = first.find("spawn_main")
    os.kill(workers[0], signal.SIGKILL)
    while workers[0] in first.find("spawn_main") or len(first.find("spawn_main")) < len(workers):
        assert time.monotonic() < first.started + 60
        time.sleep(0.1)
    for _ in range(4):
        clone.greet(first.curl)

    pids = first.tree()
    for part in ("hypersecureid.local.run", "spawn_main", "/postgres "):
        assert first.find(part)
    first.process.terminate()
    stopped = time.monotonic()
    first.wait_until_over(pids)
    assert time.monotonic() - stopped < 5
    assert clone.left_over() == []
    assert "Traceback" not in first.output


def test_the_next_run_finds_the_data_and_ctrl_c_ends_it(clone: Copy, run: Callable[..., Run]) -> None:
    second = run(clone, terminal=True, HOST="127.0.0.2")
    assert second.wait_until_ready() < 10
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
    stopped = time.monotonic()
    second.wait_until_over(pids)
    assert time.monotonic() - stopped < 5
    assert clone.left_over() == []
    assert "Traceback" not in second.output


def test_a_run_that_is_killed_takes_all_with_it_and_the_next_goes_on(clone: Copy, run: Callable[..., Run]) -> None:
    def kill_main(started: Run) -> None:
        os.kill(started.find("hypersecureid.local.run")[0], signal.SIGKILL)

    def kill_make(started: Run) -> None:
        started.process.kill()

    def kill_all(started: Run) -> None:
        for pid in started.tree():
            with suppress(ProcessLookupError):  # some end with others
                os.kill(pid, signal.SIGKILL)

    for kill in (kill_main, kill_all, kill_make):
        started = run(clone)
        assert started.wait_until_ready() < 15
        clone.greet(started.curl)
        pids = started.tree()
        kill(started)
        started.wait_until_over(pids)
        for left in clone.left_over():
            shutil.rmtree(left)  # whoever is killed can't tidy up


@pytest.mark.skipif(not NOBODY, reason="all of this has been done by a plain user")
def test_a_plain_user_can_run_it(copy: Callable[..., Copy], run: Callable[..., Run]) -> None:
    home = copy(**NOBODY)
    started = run(home)
    started.wait_until_ready()

    home.greet(started.curl)

    pids = started.tree()
    os.killpg(started.process.pid, signal.SIGINT)
    started.wait_until_over(pids)
    assert home.left_over() == []
    assert "Traceback" not in started.output


def test_it_uses_the_database_that_is_named(copy: Callable[..., Copy], run: Callable[..., Run]) -> None:
    here = copy()
    ours = urlsplit(os.environ["DATABASE_URL"])
    named = urlunsplit(ours._replace(path="/userdata_run"))
    with psycopg.connect(ours.geturl(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS userdata_run")
        connection.execute("CREATE DATABASE userdata_run")
        started = run(here, DATABASE_URL=named)
        started.wait_until_ready()

        assert bash(started.curl) == {"result": 0}
        with psycopg.connect(named) as other:
            assert other.execute("SELECT key, value FROM userdata_storedvalue").fetchall() == [("greeting", "hello")]
        assert not (here.folder / ".local" / "postgres").exists()
        assert started.find("/postgres ") == []

        pids = started.tree()
        started.process.terminate()
        started.wait_until_over(pids)
        connection.execute("DROP DATABASE userdata_run")
    assert here.left_over() == []


# --- What it refuses ------------------------------------------------------------------------------


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> None:
    """Besides what make itself says of a failure."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1
    assert re.fullmatch("[A-Z].*[.)]", lines[0])
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/n"}, "DATABASE_URL", id="nobody listens"),
        pytest.param({"DATABASE_URL": "postgresql://u:hunter2@host.invalid/n"}, "DATABASE_URL", id="no such host"),
        pytest.param({"DATABASE_URL": "mysql://u:hunter2@127.0.0.1/n"}, "DATABASE_URL", id="another database"),
        pytest.param({"PORT": "70000"}, "PORT", id="no port"),
        pytest.param({"JWT_SECRET": "short"}, "JWT_SECRET", id="a short secret"),
        pytest.param({"DEBUG": "1", "HOST": "0.0.0.0"}, "DEBUG", id="DEBUG for all to see"),
    ],
)
def test_it_refuses_to_run_with(clone: Copy, settings: dict[str, str], words: str) -> None:
    started = time.monotonic()

    done = clone.command("make", "run", **settings)

    assert done.returncode != 0
    assert_one_sentence(done)
    assert words in done.stderr
    assert "hunter2" not in done.stderr
    assert time.monotonic() - started < 15
    assert clone.left_over() == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"TTL": "soon"}, "TTL", id="a time that is no number"),
        pytest.param({"JWT_JWKS_URL": "https://provider.example/keys"}, "provider", id="keys of a provider"),
    ],
)
def test_it_makes_no_token_with(clone: Copy, settings: dict[str, str], words: str) -> None:
    done = clone.command("make", "-s", "token", **settings)

    assert done.returncode != 0
    assert_one_sentence(done)
    assert words in done.stderr
