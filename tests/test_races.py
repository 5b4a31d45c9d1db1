"""Writers that race, over real connections to several worker processes."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import cache
from http.client import HTTPConnection
from random import Random
from typing import Any

import pytest
from django.db import connection

from tests.conftest import SET, Server
from tests.tokens import APP, USER, token

OTHER_APP = "other-app"
FULL = "value_key would exceed the 20 keys that an app may have."


@cache
def bearer(user: str = USER, app: str = APP) -> str:
    return token(sub=user, azp=app)


class Caller:
    """A client that keeps its connection."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.connect()
        self.close = self._connection.close

    def set(self, key: str, value: str, user: str = USER, app: str = APP) -> tuple[int, str]:
        """The result and its reason."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer(user, app)}"}
        self._connection.request("POST", SET, json.dumps({"value_key": key, "value_data": value}), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200
        return answer["result"], response.headers.get("X-Result-Detail", "")


def rollbacks() -> int:
    """How many transactions of the database have failed. A connection tells at its end, so the service's are ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
            " WHERE application_name = 'userdata' AND datname = current_database()"
        )
        cursor.execute("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        ((number,),) = cursor.fetchall()
    return int(number)


@pytest.fixture(scope="module")
def racecourse(django_db_setup: None, start_server: Callable[..., Server], database_url: str) -> Server:
    """Three workers and room for 20 keys."""
    return start_server(wait="/readyz", DATABASE_URL=database_url, WORKERS="3", MAX_KEYS_PER_APP="20")


@pytest.fixture
def race(racecourse: Server, stored: Any) -> Callable[..., list[Any]]:
    """Let each run with a connection of its own, all from the same moment; what they return, in order."""

    def race(runners: Iterable[Callable[[Caller], Any]]) -> list[Any]:
        runners = list(runners)
        start = threading.Barrier(len(runners))

        def run(runner: Callable[[Caller], Any]) -> Any:
            with closing(Caller(racecourse.port)) as caller:
                start.wait(30)
                return runner(caller)

        with ThreadPoolExecutor(len(runners)) as executor:
            results = list(executor.map(run, runners))
        log = racecourse.log.read_text()
        assert "a statement failed" not in log
        assert "Traceback" not in log
        return results

    return race


def test_64_writers_of_one_key_all_succeed(race: Any, stored: Any) -> None:
    results = race(lambda caller, n=n: caller.set("theme", f"value {n}") for n in range(64))

    assert results == [(0, "")] * 64
    row = stored.get()
    assert (row.revision, row.app) == (64, APP)
    assert row.value in {f"value {n}" for n in range(64)}


def test_of_two_apps_that_race_for_a_new_key_one_owns_it(racecourse: Server, stored: Any) -> None:
    """200 times; each app spreads over several connections, so that both meet in one worker and in two."""
    lanes = 8
    start = threading.Barrier(2, timeout=30)

    def place(n: int) -> tuple[str, str]:
        return f"user {n // 10}", f"key {n % 10}"

    def run(app: str) -> list[int]:
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(Caller(racecourse.port))) for _ in range(lanes)]
            results = []
            for n in range(200):
                user, key = place(n)
                start.wait()
                result, detail = callers[n * (3 if app == APP else 1) % lanes].set(key, app, user, app)
                assert detail == ("value_key belongs to another app." if result == -6 else "")
                results.append(result)
            return results

    with ThreadPoolExecutor(2) as executor:
        ours, theirs = executor.map(run, [APP, OTHER_APP])

    assert {tuple(sorted(pair)) for pair in zip(ours, theirs, strict=True)} == {(-6, 0)}
    rows = {(row.owner_id, row.key): row for row in stored.all()}
    assert len(rows) == 200
    for n, result in enumerate(ours):
        row = rows[place(n)]
        assert (row.app, row.value, row.revision) == ((APP if result == 0 else OTHER_APP,) * 2) + (1,)


def test_the_owner_of_a_new_key_is_one_app_among_many(race: Any, stored: Any) -> None:
    results = race(lambda caller, n=n: caller.set("theme", f"app {n % 8}", app=f"app {n % 8}") for n in range(64))

    row = stored.get()
    assert row.revision == 8
    assert row.value == row.app
    assert [result for result, _ in results] == [0 if f"app {n % 8}" == row.app else -6 for n in range(64)]


def test_60_new_keys_at_once_fill_a_quota_of_20_exactly(race: Any, racecourse: Server, stored: Any) -> None:
    results = race(lambda caller, n=n: caller.set(f"key {n}", "v") for n in range(60))

    assert Counter(results) == {(0, ""): 20, (-5, FULL): 40}
    kept = {f"key {n}" for n, (result, _) in enumerate(results) if result == 0}
    assert set(stored.values_list("key", flat=True)) == kept
    with closing(Caller(racecourse.port)) as caller:
        assert caller.set("another", "v") == (-5, FULL)
        assert [caller.set(key, "w") for key in sorted(kept)] == [(0, "")] * 20
        assert set(stored.values_list("value", "revision")) == {("w", 2)}
        assert caller.set("another", "v", app=OTHER_APP) == (0, "")
        assert caller.set("another", "v", user="another user") == (0, "")
        assert caller.set("another", "v") == (-6, "value_key belongs to another app.")
        assert caller.set(min(kept), "v", app=OTHER_APP) == (-6, "value_key belongs to another app.")
    assert stored.count() == 22


def test_the_last_place_of_a_quota_goes_to_one_key(race: Any, racecourse: Server, stored: Any) -> None:
    """However many write it: the first of them makes it, the others update it."""
    with closing(Caller(racecourse.port)) as caller:
        for n in range(19):
            assert caller.set(f"key {n}", "v") == (0, "")

    results = race(lambda caller, n=n: caller.set(f"new {n % 10}", "v") for n in range(40))

    assert Counter(results) == {(0, ""): 4, (-5, FULL): 36}
    assert stored.count() == 20
    assert stored.get(key__startswith="new").revision == 4


def test_quotas_filled_at_once_do_not_touch_each_other(race: Any, stored: Any) -> None:
    places = [(f"user {n % 2}", f"app {n // 2 % 2}", n) for n in range(100)]  # 25 keys for each of four

    results = race(lambda caller, p=p: caller.set(f"key {p[2]}", "v", p[0], p[1]) for p in places)

    assert Counter((user, app, result[0]) for (user, app, _), result in zip(places, results, strict=True)) == {
        (f"user {user}", f"app {app}", result): many
        for user in range(2)
        for app in range(2)
        for result, many in ((0, 20), (-5, 5))
    }
    assert Counter(stored.values_list("owner_id", "app")) == {
        (f"user {user}", f"app {app}"): 20 for user in range(2) for app in range(2)
    }


def test_a_client_that_waits_for_each_answer_ends_with_its_last_value(race: Any, stored: Any) -> None:
    def runner(key: str) -> Callable[[Caller], list[Any]]:
        return lambda caller: [caller.set(key, str(n)) for n in range(1, 51)]

    results = race(runner(f"key {number}") for number in range(8))

    assert results == [[(0, "")] * 50] * 8
    assert list(stored.values_list("value", "revision")) == [("50", 50)] * 8


def test_an_answer_comes_after_the_commit(racecourse: Server, stored: Any) -> None:
    with closing(Caller(racecourse.port)) as writer, closing(Caller(racecourse.port)) as other:
        for n in range(50):
            caller = (writer, other)[n % 2]
            assert caller.set("key", str(n)) == (0, "")
            assert stored.values_list("value", "revision").get() == (str(n), n + 1)


def test_writers_that_meet_in_opposite_orders_do_not_lock_each_other_out(race: Any, stored: Any) -> None:
    """All make and update the same few keys, every one in an order of its own, so that batches cross."""
    places = [(f"user {user}", f"key {key}") for user in range(2) for key in range(4)]

    def runner(number: int) -> Callable[[Caller], list[Any]]:
        order = Random(number).sample(places * 4, 32)
        return lambda caller: [caller.set(key, f"by {number}", user) for user, key in order]

    before = rollbacks()
    results = race(runner(number) for number in range(48))

    assert results == [[(0, "")] * 32] * 48
    assert Counter(stored.values_list("revision", flat=True)) == {192: 8}
    assert rollbacks() == before  # nor did any have to give up and try again
