"""Fair use over several worker processes, which count in one Redis: it is shared, killed, frozen, and comes back."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.conftest import Server, free_port
from tests.endpoints.family import a

pytestmark = pytest.mark.redis

PASSWORD = "p@ss/word"
URL = "redis://:p%40ss%2Fword@127.0.0.1:{}/3"
TWENTY = 20
"""The limit, a minute."""


@dataclass
class RedisServer:
    folder: Path
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "requirepass": PASSWORD}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        retry = Retry(ConstantBackoff(0.05), 200)
        self.client = Redis.from_url(URL.format(self.port), retry=retry)
        self.client.ping()

    def kill(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def limited(
    redis: RedisServer, start_server: Callable[..., Server], database_url: str, stored: object, tmp_path: Path
) -> Iterator[Callable[[str], Server]]:
    """Starts two workers with a limit; when they end, no more went wrong than was to be."""
    url = tmp_path / "url"
    url.write_text(URL.format(redis.port))
    servers = []

    def limited(rate: str) -> Server:
        given = {"DATABASE_URL": database_url, "WORKERS": "2", "RATE_LIMIT": rate, "REDIS_URL_FILE": str(url)}
        servers.append(start_server(wait="/readyz", **given))
        return servers[-1]

    yield limited
    for server in servers:
        server.stop()
        assert "Traceback" not in server.log.read_text()
        assert "word" not in server.log.read_text()


@dataclass
class Answer:
    result: int
    retry_after: int
    seconds: float


def send(server: Server, requests: int = 1, at_once: int = 1, **changes: Any) -> list[Answer]:
    """Each request comes on a connection of its own, which either of the workers may take."""
    headers = {"Authorization": f"Bearer {a(**changes)}", "Content-Type": "application/json"}

    def one(_: int) -> Answer:
        began = time.monotonic()
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            connection.request("POST", "/user-data/get", b'{"value_keys": ["k"]}', headers)
            response = connection.getresponse()
            result = json.loads(response.read())["result"]
        return Answer(result, int(response.getheader("Retry-After", "0")), time.monotonic() - began)

    with ThreadPoolExecutor(at_once) as executor:
        return list(executor.map(one, range(requests)))


def passed(answers: list[Answer]) -> int:
    assert {answer.result for answer in answers} <= {0, -4}
    return sum(answer.result == 0 for answer in answers)


def uncounted(server: Server) -> float:
    metrics = httpx.get(f"{server.url}/metrics", timeout=5).text
    found = re.search(r"^userdata_rate_limit_errors_total (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0


def told(server: Server, what: str) -> int:
    """How many lines of the log say it."""
    return server.log.read_text().count(what)


def test_workers_share_the_limit_exactly(limited: Callable[[str], Server], redis: RedisServer) -> None:
    server = limited(f"{TWENTY}/min")

    assert passed(send(server, 3 * TWENTY, at_once=8, sub="user@example.com", azp="app-1")) == TWENTY
    assert passed(send(server, 3 * TWENTY, at_once=8, sub="user@example.com", azp="app-2")) == TWENTY
    assert passed(send(server, 5, sub="somebody@example.com", azp="app-1")) == 5
    assert uncounted(server) == 0
    keys: list[bytes] = list(redis.client.scan_iter("*"))
    assert len(keys) == 3
    assert not [key for key in keys if b"example" in key or b"app-" in key]
    assert all(0 < redis.client.ttl(key) <= 120 for key in keys)  # type: ignore[operator]


def test_who_waits_as_long_as_told_may_go_on(limited: Callable[[str], Server]) -> None:
    server = limited("5/second")

    for _ in range(3):
        answers = send(server, 12, at_once=4)
        refused = [answer for answer in answers if answer.result == -4]
        assert refused
        assert {answer.retry_after for answer in refused} == {1}
        time.sleep(1)
        assert passed(send(server)) == 1


def test_a_killed_redis_lets_everybody_through_at_once_and_counts_again_when_it_is_back(
    limited: Callable[[str], Server], redis: RedisServer
) -> None:
    server = limited(f"{TWENTY}/min")
    assert passed(send(server, 2 * TWENTY, at_once=4)) == TWENTY

    with ThreadPoolExecutor(1) as executor:
        under_way = executor.submit(send, server, 8 * TWENTY, at_once=4)
        time.sleep(0.1)
        redis.kill()
        answers = under_way.result() + send(server, 2 * TWENTY, at_once=4)

    assert passed(answers[-2 * TWENTY :]) == 2 * TWENTY
    assert max(answer.seconds for answer in answers) < 1
    assert uncounted(server) >= 2 * TWENTY
    assert 1 <= told(server, "requests are not counted") <= 2  # each worker says so, once

    redis.start()
    time.sleep(1.2)
    send(server, 2 * TWENTY, at_once=4, sub="anybody")  # so that both workers have found it
    before = uncounted(server)
    assert passed(send(server, 3 * TWENTY, at_once=4)) == TWENTY
    assert uncounted(server) == before
    assert told(server, "requests are counted again") == told(server, "requests are not counted")


def test_a_frozen_redis_costs_few_requests_a_moment_and_the_others_nothing(
    limited: Callable[[str], Server], redis: RedisServer
) -> None:
    server = limited(f"{TWENTY}/min")
    assert passed(send(server, 2 * TWENTY, at_once=4)) == TWENTY

    os.kill(redis.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    answers = send(server, 10 * TWENTY, at_once=4)
    seconds = time.monotonic() - began

    assert passed(answers) == 10 * TWENTY
    assert max(answer.seconds for answer in answers) < 1
    # At first, those that were under way together wait; then in each worker one a second.
    assert sum(answer.seconds > 0.19 for answer in answers) <= 8 + 2 * seconds

    os.kill(redis.process.pid, signal.SIGCONT)
    time.sleep(1.2)
    send(server, 2 * TWENTY, at_once=4, sub="anybody")
    assert passed(send(server, 2 * TWENTY, at_once=4)) == 0
    assert 1 <= told(server, "requests are counted again") == told(server, "requests are not counted") <= 2
