"""The life of the server's processes: ends, kills, replacements, and what they count together."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from tests.conftest import BODY, PROJECT, Server, free_port
from tests.server.conftest import wait_until, workers_of
from tests.server.wire import OBJECT, OK, Wire, request
from tests.tokens import token

pytestmark = pytest.mark.slow


@pytest.fixture
def own_server(start_server: Callable[..., Server], database_url: str, stored: object, tmp_path: Path) -> Server:
    """A server that the test may end; what it leaves behind goes with the test."""
    return start_server(wait="/readyz", DATABASE_URL=database_url, WORKERS="2", TMPDIR=str(tmp_path))


@pytest.fixture
def connect(own_server: Server) -> Iterator[Callable[[], Wire]]:
    wires: list[Wire] = []

    def connect() -> Wire:
        wires.append(Wire(own_server.port))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_answers_what_is_under_way_and_takes_nothing_new(
    own_server: Server, connect: Callable[[], Wire], stored: Any, how: signal.Signals
) -> None:
    idle, busy = connect(), [connect() for _ in range(6)]
    assert idle.call(request()).body == OK
    for connection in busy:
        assert connection.call(request(b"", "Expect: 100-continue", length=len(OBJECT))).status == 100
        connection.send(OBJECT[:-1])

    own_server.process.send_signal(how)
    assert idle.is_closed(3)
    wait_until(lambda: is_refused(own_server.port), 3)

    for connection in busy:
        reply = connection.call(OBJECT[-1:])
        assert (reply.body, reply.headers["connection"]) == (OK, "close")
    assert own_server.process.wait(3) == 0
    assert stored.get().revision == 7
    (line,) = own_server.log.read_text().splitlines()
    assert "JWT_AUDIENCE is not set" in line


def test_told_to_end_it_tells_its_peers_before_it_closes_their_connections(
    own_server: Server, connect: Callable[[], Wire]
) -> None:
    """A proxy may have sent its next request on a connection that looks idle."""
    kept = connect()
    assert "connection" not in kept.call(request()).headers

    own_server.process.send_signal(signal.SIGTERM)
    while "connection" not in (reply := kept.call(request())).headers:
        assert reply.body == OK

    assert (reply.body, reply.headers["connection"]) == (OK, "close")
    assert kept.is_closed(1)
    assert own_server.process.wait(3) == 0


def is_refused(port: int) -> bool:
    try:
        Wire(port).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_while_idle_it_ends_soon(own_server: Server, how: signal.Signals) -> None:
    own_server.process.send_signal(how)

    assert own_server.process.wait(3) == 0
    assert all(line.startswith("{") for line in own_server.log.read_text().splitlines())


def test_told_to_end_it_waits_for_no_body_for_ever(
    own_server: Server, connect: Callable[[], Wire], stored: Any
) -> None:
    stuck = connect()
    assert stuck.call(request(b"", "Expect: 100-continue", length=len(OBJECT))).status == 100

    own_server.process.send_signal(signal.SIGTERM)

    reply = stuck.reply()
    assert (reply.status, reply.result, reply.headers["retry-after"]) == (429, {"result": -4}, "1")
    assert own_server.process.wait(5) == 0
    assert not stored.exists()
    assert all(line.startswith("{") for line in own_server.log.read_text().splitlines())


def test_a_killed_worker_is_replaced_and_its_counts_are_kept(own_server: Server) -> None:
    for _ in range(20):
        own_server.set()
    wait_until(lambda: counted(own_server) == 20, 5)
    first = workers_of(own_server)
    assert len(first) == 2

    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: first[0] not in workers_of(own_server) and len(workers_of(own_server)) == 2, 5)
    wait_until(lambda: all(answers(own_server) for _ in range(10)), 5)
    for _ in range(20):
        own_server.set()

    assert counted(own_server) == 40
    assert {counted(own_server) for _ in range(10)} == {40}  # whichever worker is asked


def test_each_worker_that_ends_by_itself_is_replaced(own_server: Server) -> None:
    first = workers_of(own_server)

    for worker in first:
        os.kill(worker, signal.SIGTERM)
    wait_until(lambda: not set(first) & set(workers_of(own_server)) and len(workers_of(own_server)) == 2, 5)

    wait_until(lambda: answers(own_server), 5)
    assert own_server.set().json() == {"result": 0}


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/livez", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def counted(server: Server) -> int:
    """How many successes all workers have answered with."""
    page = httpx.get(f"{server.url}/metrics", timeout=5).text
    lines = re.findall(r'^userdata_answers_total\{.*outcome="SUCCESS".*\} (\d+)', page, re.MULTILINE)
    return sum(map(int, lines))


def test_a_frozen_main_process_stops_nobody(own_server: Server) -> None:
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        assert own_server.set().json() == {"result": 0}
    finally:
        own_server.process.send_signal(signal.SIGCONT)


def test_no_worker_outlives_the_main_process(own_server: Server) -> None:
    workers = workers_of(own_server)

    own_server.process.kill()
    own_server.process.wait(5)

    wait_until(lambda: not any(map(is_running, workers)), 10)
    assert is_refused(own_server.port)


def is_running(process: int) -> bool:
    """An orphan that has ended stays in the table of processes until the system's first process collects it."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_counters_files_end_with_the_server(own_server: Server) -> None:
    folder = Path(psutil.Process(own_server.process.pid).environ()["PROMETHEUS_MULTIPROC_DIR"])
    assert folder.is_dir()

    own_server.stop()

    assert not folder.exists()


@pytest.fixture
def small_server(database_url: str, stored: object, tmp_path: Path) -> Iterator[Server]:
    """A worker that takes few connections."""
    port, log = free_port(), tmp_path / "log"
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "hypersecureid.settings",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:tests.server.four_connections"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=output, stderr=output, text=True)
    server = Server(process, port, log)
    server.wait_for("/readyz")
    yield server
    server.stop()


def test_connections_beyond_the_bound_are_refused_at_once(small_server: Server, stored: Any) -> None:
    held = [Wire(small_server.port) for _ in range(3)]
    assert [wire.call(request()).body for wire in held] == [OK, OK, OK]

    late = Wire(small_server.port)
    reply = late.call(request())

    assert (reply.status, reply.body) == (503, b"Service Unavailable")
    assert late.is_closed()
    assert [wire.call(request()).body for wire in held] == [OK, OK, OK]
    assert stored.get().revision == 6
    for wire in (*held, late):
        wire.close()
    wait_until(lambda: small_server.set(BODY).status_code == 200, 5)


def test_connections_that_say_nothing_count_too(small_server: Server) -> None:
    silent = [Wire(small_server.port) for _ in range(4)]

    wait_until(lambda: small_server.set(bearer=token()).status_code == 503, 5)

    for wire in silent:
        wire.close()
    wait_until(lambda: small_server.set().status_code == 200, 5)


def test_the_bound_of_a_worker_is_2048_connections() -> None:
    from hypersecureid.gunicorn import ServiceWorker

    assert ServiceWorker.CONFIG_KWARGS["limit_concurrency"] == 2048
