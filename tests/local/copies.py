"""Copies of the project as someone has cloned it, and `make run` in them."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from hypersecureid.local.environment import PROJECT

CODE = [
    "Makefile",
    "manage.py",
    "requirements.txt",
    "requirements-local.txt",
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
    """The project, with its environment installed, in a folder whose path is long and has spaces and an apostrophe."""

    base: Path
    runs_as: dict[str, Any] = field(default_factory=dict)
    greetings: int = 0

    @property
    def folder(self) -> Path:
        return self.base / "it's a folder with spaces ".ljust(149 - len(str(self.base)), "x")

    @property
    def temporary(self) -> Path:
        """The temporary directory of its commands: beside the base, which nobody else can pass."""
        return self.base.with_name(f"{self.base.name}-tmp")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.temporary),
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
        }

    def make(self) -> None:
        self.base.chmod(0o700)
        self.folder.mkdir()
        self.temporary.mkdir()
        for name in CODE:
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(PROJECT / name, self.folder / name)
                os.utime(self.folder / name, (0, 0))  # older than the environment: nothing is installed
        _install(self.folder / ".venv", self.runs_as)
        if self.runs_as:
            for path in (self.base, self.temporary, *self.base.rglob("*")):
                os.chown(path, self.runs_as["user"], self.runs_as["group"], follow_symlinks=False)

    def remove(self) -> None:
        shutil.rmtree(self.base)
        shutil.rmtree(self.temporary)

    def command(self, *command: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            input=stdin,
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
        """Ask the database of what runs here."""
        url = (self.folder / ".local" / "database_url").read_text()
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()


def _install(venv: Path, runs_as: dict[str, Any]) -> None:
    """The project's own environment, in a folder's place for it."""
    ours = PROJECT / ".venv"
    try:
        subprocess.run([ours / "bin" / "python", "-c", ""], check=True, **runs_as)
        venv.symlink_to(ours)
    except PermissionError:
        # This Python is for root alone; one of the system's, of the same version, can use what is installed for it.
        version = "python{}.{}".format(*sys.version_info)
        python = shutil.which(version, path="/usr/bin")
        assert python, "there is no Python here that another user may run"
        subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
        (packages,) = venv.glob("lib/*/site-packages")
        (packages / "ours.pth").write_text(f"{ours}/lib/{version}/site-packages")
        for stamp in ("runtime", "development"):
            (venv / stamp).touch()


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
    def url(self) -> str:
        return f"http://{self.host.replace('0.0.0.0', '127.0.0.1')}:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text().replace("\r\n", "\n")

    @property
    def curl(self) -> str:
        """The call that it prints."""
        call, end, _ = self.output.partition("Try:\n\n")[2].partition("}'\n")
        return call + end

    def wait_until_ready(self) -> float:
        """The seconds since the start."""
        self.wait_for(f"Ready on {self.url} ")
        self.wait_for("}'\n")
        return time.monotonic() - self.started

    def wait_for(self, words: str) -> None:
        while words not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < self.started + 50, self.output
            time.sleep(0.05)

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

    def wait_until_over(self, pids: Collection[int]) -> int:
        """The exit code, when every one of the processes is gone; zombies, which only init can bury, are."""
        deadline = time.monotonic() + 15
        code = self.process.wait(15)
        while alive := _alive(pids):
            assert time.monotonic() < deadline, alive
            time.sleep(0.1)
        if self.process.stdin:
            self.process.stdin.close()
        return code

    def kill(self) -> None:
        """Every process of it, at once; and nothing of it remains."""
        if self.process.poll() is None:
            for pid in self.tree():
                with suppress(ProcessLookupError):  # some end with others
                    os.kill(pid, signal.SIGKILL)
        self.wait_until_over([])


def _alive(pids: Collection[int]) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 2) for line in listing.stdout.splitlines())
    return [args for pid, stat, args in rows if int(pid) in pids and not stat.startswith("Z")]


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
        URL=f"{run.url}/user-data/set",
        TOKEN=bearer,
        BODY='{"request_id": 7, "value_key": "theme", "value_data": "dark"}',
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> None:
    """Besides what make itself says of a failure."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    assert re.fullmatch("[A-Z].*[.)]", lines[0])
    assert done.stdout == ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
