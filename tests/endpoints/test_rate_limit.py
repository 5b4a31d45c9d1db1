"""Fair use: a user's app that sends too much is asked to slow down, by itself. Here without a Redis, or with a bad one.

The limit is three requests a minute. What is let through has -5 here where nothing has to be stored for the test.
"""

import itertools
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import time_machine
from django.test import override_settings

from hypersecureid.checks import check_settings
from tests.application import Response, Running
from tests.conftest import free_port
from tests.endpoints.conftest import Ask, Rows, exact
from tests.endpoints.family import ENDPOINTS, Endpoint, a
from userdata.rate_limit import PAUSE_SECONDS

SET = "/user-data/set"
GOOD = {"value_key": "k", "value_data": "v"}

_numbers = itertools.count()


@contextmanager
def limited(running: Running, rate: str, redis_url: str = "") -> Iterator[None]:
    """The service in this process, with a limit."""
    try:
        with override_settings(RATE_LIMIT=rate, REDIS_URL=redis_url):
            running.restart()
            yield
    finally:
        running.restart()


@pytest.fixture(scope="module")
def three_a_minute(running: Running) -> Iterator[None]:
    with limited(running, "3/min"):
        yield


@pytest.fixture
def clock(three_a_minute: None) -> Iterator[time_machine.Traveller]:
    """Stands still at 10.5 seconds past a minute, unless a test moves it; tokens made before are good."""
    with time_machine.travel((time.time() // 60 + 2) * 60 + 10.5, tick=False) as traveller:
        yield traveller


@pytest.fixture
def sub() -> str:
    """A user who has sent nothing yet."""
    return f"sender-{next(_numbers)}"


def results(ask: Ask, bearer: str, requests: int = 4, path: str = SET) -> list[int]:
    return [exact(ask(path, {}, bearer))["result"] for _ in range(requests)]


def counter(call: Callable[..., Response], name: str) -> float:
    found = re.search(rf"^userdata_{name}_total (\S+)$", call("GET", "/metrics").content.decode(), re.MULTILINE)
    return float(found[1]) if found else 0


def test_every_endpoint_refuses_with_all_of_its_fields(
    ask: Ask, clock: object, sub: str, endpoint: Endpoint, rows: Callable[[], Rows]
) -> None:
    bearer = a(sub=sub)
    assert -4 not in results(ask, bearer, 3, endpoint.path)
    before = rows()

    refused = ask(endpoint.path, {**endpoint.body, "request_id": 7}, bearer)

    assert refused.status_code == (429 if endpoint.is_basic else 200)
    assert exact(refused) == {"request_id": 7, "result": -4, **endpoint.empty}
    assert refused["Retry-After"] == "50"  # 49.5 seconds and a bit
    assert refused["X-Result-Detail"] == "Too many requests; send again later."
    assert ("Cache-Control" in refused) == endpoint.is_read
    assert "WWW-Authenticate" not in refused
    assert rows() == before


def test_after_the_wait_there_is_room_for_one_more_and_later_for_all(
    ask: Ask, clock: time_machine.Traveller, sub: str
) -> None:
    bearer = a(sub=sub)
    assert results(ask, bearer) == [-5, -5, -5, -4]

    clock.shift(49)
    assert results(ask, bearer, 1) == [-4]
    clock.shift(1)
    assert results(ask, bearer, 1) == [-5]
    refused = ask(SET, GOOD, bearer)
    assert (exact(refused), refused["Retry-After"]) == ({"result": -4}, "20")

    clock.shift(19)
    assert results(ask, bearer, 1) == [-4]
    clock.shift(1)
    assert results(ask, bearer, 2) == [-5, -4]

    clock.shift(120)
    assert results(ask, bearer) == [-5, -5, -5, -4]


def test_a_wait_of_whole_seconds_ends_behind_the_moment_not_at_it(
    ask: Ask, clock: time_machine.Traveller, sub: str
) -> None:
    clock.shift(-0.5)
    bearer = a(sub=sub)
    assert results(ask, bearer, 3) == [-5, -5, -5]
    assert ask(SET, GOOD, bearer)["Retry-After"] == "51"

    clock.shift(51)

    assert results(ask, bearer, 1) == [-5]


def test_where_two_minutes_meet_there_is_no_double_burst(ask: Ask, clock: time_machine.Traveller, sub: str) -> None:
    bearer = a(sub=sub)
    clock.shift(49)  # half a second to the full minute
    assert results(ask, bearer, 3) == [-5, -5, -5]

    clock.shift(1)

    assert results(ask, bearer, 3) == [-5, -4, -4]


def test_other_users_and_other_apps_have_counts_of_their_own(ask: Ask, clock: object, sub: str) -> None:
    assert results(ask, a(sub=sub)) == [-5, -5, -5, -4]

    for other in ({"azp": "a2"}, {"sub": f"{sub}x"}, {"azp": "a/b"}, {"sub": f"{sub}/a", "azp": "b"}):
        assert results(ask, a(**({"sub": sub} | other)), 3) == [-5, -5, -5]
    assert results(ask, a(sub=sub), 1) == [-4]


def test_all_endpoints_and_tokens_of_a_users_app_have_one_count(ask: Ask, clock: object, sub: str) -> None:
    tokens = [a(sub=sub), a(sub=sub, email="other@example.com"), a(sub=sub, wallet_address=None)]
    for bearer, endpoint in zip(tokens, ENDPOINTS[::7], strict=False):
        assert exact(ask(endpoint.path, endpoint.body, bearer))["result"] != -4

    assert {exact(ask(one.path, one.body, tokens[0]))["result"] for one in ENDPOINTS} == {-4}


def test_who_is_not_authenticated_or_lacks_a_scope_is_told_so_and_not_counted(
    ask: Ask, clock: object, sub: str
) -> None:
    refused = [
        exact(ask(SET, GOOD, bearer))["result"]
        for bearer in (None, a(sub=sub) + "x", a(sub=sub, exp=1), a(sub=sub, scope="email"))
        for _ in range(3)
    ]
    assert refused == [-1] * 6 + [-2] * 3 + [-3] * 3

    assert results(ask, a(sub=sub)) == [-5, -5, -5, -4]
    assert exact(ask(SET, GOOD, a(sub=sub, scope="email")))["result"] == -3


def test_what_is_refused_is_counted(ask: Ask, call: Callable[..., Response], clock: object, sub: str) -> None:
    before = counter(call, "rate_limit_refusals"), counter(call, "rate_limit_errors")

    results(ask, a(sub=sub), 8)

    assert (counter(call, "rate_limit_refusals"), counter(call, "rate_limit_errors")) == (before[0] + 5, before[1])


@pytest.mark.parametrize("answers", [False, True], ids=["nothing listens", "what listens says nothing"])
def test_without_the_redis_it_is_told_of_everybody_goes_through(
    running: Running, ask: Ask, call: Callable[..., Response], caplog: pytest.LogCaptureFixture, sub: str, answers: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1] if answers else free_port()
        with limited(running, "1/min", f"redis://:secret@127.0.0.1:{port}"):
            before = counter(call, "rate_limit_errors")
            bearer, seconds = a(sub=sub), []
            for _ in range(30):
                began = time.monotonic()
                assert exact(ask(SET, {}, bearer))["result"] == -5
                seconds.append(time.monotonic() - began)

            time.sleep(PAUSE_SECONDS)
            assert exact(ask(SET, {}, bearer))["result"] == -5  # it tries again, in vain, and no line says so

            assert counter(call, "rate_limit_errors") == before + 31
            assert max(seconds) < 0.8
            assert sum(second > 0.15 for second in seconds) <= 1 + sum(seconds)  # one try a second
    events: list[Any] = [record.msg for record in caplog.records if record.name == "userdata.rate_limit"]
    assert [event["event"] for event in events] == ["requests are not counted: Redis can't be used"]
    assert "secret" not in str(events)


@pytest.mark.parametrize(
    ("rate", "redis_url", "debug", "found"),
    [
        ("9/s", "", False, ["userdata.W003"]),
        ("9/s", "redis://localhost", False, []),
        ("9/s", "", True, []),
        ("", "", False, []),
    ],
)
def test_a_limit_that_each_worker_counts_by_itself_is_warned_of(
    settings: Any, rate: str, redis_url: str, debug: bool, found: list[str]
) -> None:
    settings.RATE_LIMIT, settings.REDIS_URL, settings.DEBUG = rate, redis_url, debug

    warned = [message.id for message in check_settings(None) if not message.is_serious()]

    assert [each for each in warned if each != "userdata.W001"] == found
