"""The server as a child process, and the embedded database beside it, from the first request to the last."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypersecureid.local import environment, greeting, processes
from hypersecureid.local.postgres import Postgres

ATTENTION_SECONDS = 0.2
# More than the server itself takes to answer what is under way.
STOP_SECONDS = 20
RESTARTS = 3
RESTARTS_WITHIN_SECONDS = 60


def supervise(database: Postgres | None, folder: Path, parent: int) -> int:
    """Serve until the server ends; returns the exit code for that. SystemExit says why the database can't go on."""
    started = threading.Event()
    keeper = Keeper(database) if database else None
    with _server(folder) as server:
        threading.Thread(target=greeting.greet, args=(started,), name="greeting", daemon=True).start()
        while server.poll() is None:
            if os.getppid() != parent:
                return 1  # `make` was killed, so nobody is left whom a Ctrl-C would reach
            if keeper:
                keeper.keep()
            time.sleep(ATTENTION_SECONDS)
    if server.returncode > 0 and not started.is_set():
        return server.returncode  # it has said itself why it does not start
    sys.exit(f"The server {processes.how_it_ended(server.returncode)}.")


@contextmanager
def _server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py serve`, told to end when this is left, and when this process is killed."""
    # In a session of its own: a Ctrl-C is for this process, which ends the server before the database.
    server = subprocess.Popen(
        [sys.executable, "manage.py", "serve"],
        cwd=environment.PROJECT,
        # What it leaves in its temporary directory when it is killed, such as its counters, goes with ours.
        env=os.environ | {"TMPDIR": str(folder)},
        start_new_session=True,
    )
    watcher = processes.end_with_this_process(server.pid, signal.SIGTERM)
    try:
        yield server
    finally:
        processes.release(watcher)
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let it answer what is under way; a further Ctrl-C cuts that short."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGINT, 5), (signal.SIGKILL, None)):
        server.send_signal(number)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            server.wait(seconds)
            return


class Keeper:
    """Starts the embedded database again when it has ended, so many times within so long."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._restarts: list[float] = []

    def keep(self) -> None:
        if not (ended := self._database.ended):
            return
        now = time.monotonic()
        self._restarts = [then for then in self._restarts if then > now - RESTARTS_WITHIN_SECONDS]
        if len(self._restarts) == RESTARTS:
            sys.exit(f"The embedded PostgreSQL {ended}, once more; its log is {self._database.log}.")
        self._restarts.append(now)
        print(f"The embedded PostgreSQL {ended}; starting it again.", file=sys.stderr, flush=True)
        self._database.restart()
