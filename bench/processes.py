"""Servers as child processes: started, waited for, watched, and ended with all that they started."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 15
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class DidNotStart(Exception):
    """A program ended, or stayed silent, before it was ready; the message says what it said last."""


@dataclass(frozen=True)
class Server:
    """A candidate's server, ready for requests."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> dict[int, int]:
        """Resident bytes of each process that the server is made of."""
        sizes = {}
        for pid in _session(self.pid):
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
            sizes[pid] = pages * PAGE_BYTES
        return sizes


@contextmanager
def serving(
    command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, port: int, ready: str, log: Path
) -> Iterator[Server]:
    """Run `command` until the block ends; it is ready when GET `ready` answers 200.

    Raises `DidNotStart`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_ready(process, port, ready, log)
        yield Server(port, process.pid)
    finally:
        _end(process)


def run(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, log: Path) -> None:
    """Run `command` to its end. Raises `DidNotStart` where that is not a success."""
    with log.open("ab") as output:
        done = subprocess.run(command, env=environment, cwd=folder, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise DidNotStart(f"{Path(command[0]).name} failed: {last_words(log)}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def last_words(log: Path) -> str:
    return last_line(log.read_text(errors="replace"))


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DidNotStart(f"ended at once: {last_words(log)}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise DidNotStart(f"not ready after {START_SECONDS} s: {last_words(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end what is left of its session."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5
        for pid in _session(process.pid):
            _signal(pid, how)
        while _session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)


def _signal(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def _session(leader: int) -> list[int]:
    """The live processes of the session that `leader` began."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        state, session = fields[0], int(fields[3])
        if session == leader and state != "Z":
            members.append(int(entry.name))
    return members
