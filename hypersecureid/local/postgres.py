"""A real PostgreSQL 18 of one's own, from a wheel, for development and tests."""

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT, Signals
from typing import IO
from urllib.parse import quote

import psutil

from hypersecureid.local import LocalError, processes
from hypersecureid.local.programs import BINARIES, ServerPrograms, server_programs
from hypersecureid.local.temporary import TemporaryFolder

START_SECONDS = 30
STOP_SECONDS = 30
CLUSTER = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]


class Postgres:
    """One database server over a data directory; listens on a Unix socket only.

    Raises `LocalError` with the server's own last words when it does not come up.
    """

    def __init__(self, data: Path, *options: str) -> None:
        """`options` are server settings such as `log_statement=all`."""
        self.data = data.resolve()
        self.log = self.data.with_name(self.data.name + ".log")
        self.options = options
        self._server: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._locked: IO[str] | None = None
        self._programs = ServerPrograms()
        self._runtime = TemporaryFolder()
        # Not below `data`: a socket's path has room for about 100 bytes.
        self.sockets = self._runtime.path / "sockets"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/userdata?host={quote(str(self.sockets), safe='')}"

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    @property
    def ended(self) -> str | None:
        """How the server ended, if it did so by itself."""
        code = self._server.poll() if self._server else None
        return None if code is None else processes.how_it_ended(code)

    def start(self) -> None:
        self._lock()
        if not self.sockets.exists():
            self._programs = server_programs(self._runtime.path)
            self.sockets.mkdir(mode=0o700)
            self._programs.give(self.sockets)
        if not (self.data / "PG_VERSION").exists():
            self._create()
        else:
            self._end_leftovers()
        settings = [f"unix_socket_directories={self.sockets}", "listen_addresses=", *self.options]
        with self.log.open("ab") as log, self._programs.over(self.data) as (data, started_by):
            self._server = subprocess.Popen(
                [self._programs.folder / "postgres", "-D", data, *(part for s in settings for part in ("-c", s))],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for the service, which then stops the database last.
                start_new_session=True,
                **started_by,
            )
        self._watcher = processes.end_with_this_process(self._server.pid, SIGINT)
        self._wait_until_ready()
        self._run("createdb", "-U", "postgres", "userdata")  # fails where it is there

    def restart(self) -> None:
        """Start again a server that has ended by itself."""
        self.stop()
        self.start()

    def stop(self, how: Signals = SIGINT) -> None:
        """End the server: SIGINT rolls back what is open and writes a checkpoint, SIGQUIT is a crash."""
        if self._server is None:
            return
        if self._watcher:
            processes.release(self._watcher)
        self._server.send_signal(how)
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = self._watcher = None

    def close(self) -> None:
        self.stop()
        if self._locked:
            self._locked.close()
            self._locked = None
        self._runtime.close()

    def _lock(self) -> None:
        """Keep others off the data; the system lets go of the lock when this process ends, however it ends."""
        if self._locked is None:
            self.data.parent.mkdir(parents=True, exist_ok=True)
            locked = self.data.with_name(self.data.name + ".lock").open("w")
            try:
                fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                locked.close()
                raise LocalError(f"Another process uses the database in {self.data}") from cause
            self._locked = locked

    def _create(self) -> None:
        # Built aside and renamed, so that a run killed half-way leaves nothing that looks complete.
        unfinished = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        self._programs.give(unfinished)
        with self._programs.over(unfinished) as (data, started_by):
            done = subprocess.run(
                [self._programs.folder / "initdb", "-D", data, *CLUSTER],
                cwd="/",
                capture_output=True,
                **started_by,
            )
        if done.returncode != 0:
            raise LocalError(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")
        unfinished.rename(self.data)

    def _end_leftovers(self) -> None:
        """End the server of a run that was killed, and wait for the processes of a server that was killed itself."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        number = pid_file.read_text().split("\n")[0]
        server = int(number) if number.isdecimal() else None  # none in a file that was being written
        left = [process for process in psutil.process_iter() if _serves(process, self.data)]
        for process in left:
            if process.pid == server:
                process.send_signal(SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := [process for process in left if _serves(process, self.data)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not left and (server is None or psutil.pid_exists(server)):
            # A zombie, or another process that has got the number since; PostgreSQL would take it for a server.
            pid_file.unlink(missing_ok=True)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._run("pg_isready", "-q") != 0:
            if self.ended or time.monotonic() > deadline:
                self.stop()
                raise LocalError(f"The embedded PostgreSQL did not start: {self._last_words()}")
            time.sleep(0.05)

    def _run(self, client: str, *arguments: str) -> int:
        """The exit code of a client of this server."""
        return subprocess.run([BINARIES / client, "-h", self.sockets, *arguments], capture_output=True).returncode

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


@contextmanager
def running(data: Path, *options: str) -> Iterator[str]:
    """A server over `data`, made on first use; yields its DATABASE_URL and stops it at the end."""
    server = Postgres(data, *options)
    try:
        server.start()
        yield server.url
    finally:
        server.close()


def _serves(process: psutil.Process, data: Path) -> bool:
    """Is it a process of a PostgreSQL server over this data? They all work in its directory."""
    with suppress(psutil.Error):
        return process.name() == "postgres" and process.cwd() == str(data)
    return False
