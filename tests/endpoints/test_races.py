"""Callers that race, over real connections to several worker processes."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import cache, partial
from random import Random
from typing import Any

import pytest

from tests.conftest import Server
from tests.endpoints.racers import DENIED, FULL, Caller, failed_transactions, race, to_set


@pytest.fixture(scope="module")
def running_course(start_server: Callable[..., Server], database_url: str) -> Server:
    """Three workers and room for 20 keys."""
    return start_server(wait="/readyz", DATABASE_URL=database_url, WORKERS="3", MAX_KEYS_PER_APP="20")


@pytest.fixture
def course(running_course: Server, stored: Any) -> Iterator[Server]:
    """Over an empty table; nothing fails behind a good answer."""
    yield running_course
    log = running_course.log.read_text()
    assert "a statement failed" not in log
    assert "Traceback" not in log


def test_64_writers_of_one_key_all_succeed(course: Server, stored: Any) -> None:
    results = race(course.port, (to_set("theme", f"value {n}") for n in range(64)))

    assert results == [(0, "")] * 64
    row = stored.get()
    assert (row.revision, row.app) == (64, "a1")
    assert row.value in {f"value {n}" for n in range(64)}


@pytest.mark.parametrize(
    ("below", "fields", "denied"),
    [
        pytest.param("/user-data/", {}, -6, id="basic"),
        pytest.param("/user-data/by-user-id/", {}, -6, id="user id"),
        pytest.param("/user-data/by-email/", {}, -6, id="email"),
        pytest.param("/user-data/by-idp/", {"identity_provider": "telegram"}, -7, id="identity provider"),
        pytest.param("/user-data/by-wallet/", {}, -7, id="wallet"),
    ],
)
def test_of_two_apps_that_race_for_a_new_key_one_owns_it(
    course: Server, stored: Any, below: str, fields: dict[str, str], denied: int
) -> None:
    """200 times; each app spreads over several connections, so that both meet in one worker and in two."""
    lanes = 8
    start = threading.Barrier(2, timeout=30)

    def place(n: int) -> tuple[str, str]:
        return f"user {n // 10}", f"key {n % 10}"

    def run(app: str) -> list[int]:
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(Caller(course.port))) for _ in range(lanes)]
            results = []
            for n in range(200):
                user, key = place(n)
                start.wait()
                caller = callers[n * (3 if app == "a1" else 1) % lanes]
                result, reason = caller.set(key, app, user, app, below, **fields)
                assert reason == (DENIED if result == denied else "")
                results.append(result)
            return results

    with ThreadPoolExecutor(2) as executor:
        ours, theirs = executor.map(run, ["a1", "a2"])

    assert {tuple(sorted(pair)) for pair in zip(ours, theirs, strict=True)} == {(denied, 0)}
    rows = {(row.owner_id.split("\x1f")[0], row.key): row for row in stored.all()}
    assert len(rows) == 200
    for n, result in enumerate(ours):
        row = rows[place(n)]
        winner = "a1" if result == 0 else "a2"
        assert (row.app, row.value, row.revision) == (winner, winner, 1)


def test_the_owner_of_a_new_key_is_one_app_among_many(course: Server, stored: Any) -> None:
    results = race(course.port, (to_set("theme", f"app {n % 8}", app=f"app {n % 8}") for n in range(64)))

    row = stored.get()
    assert row.revision == 8
    assert row.value == row.app
    assert [result for result, _ in results] == [0 if f"app {n % 8}" == row.app else -6 for n in range(64)]


def test_60_new_keys_at_once_fill_a_quota_of_20_exactly(course: Server, stored: Any) -> None:
    results = race(course.port, (to_set(f"key {n}", "v") for n in range(60)))

    assert Counter(results) == {(0, ""): 20, (-5, FULL): 40}
    kept = {f"key {n}" for n, (result, _) in enumerate(results) if result == 0}
    assert set(stored.values_list("key", flat=True)) == kept
    with closing(Caller(course.port)) as caller:
        assert caller.set("another", "v") == (-5, FULL)
        assert [caller.set(key, "w") for key in sorted(kept)] == [(0, "")] * 20
        assert set(stored.values_list("value", "revision")) == {("w", 2)}
        assert caller.set("another", "v", app="a2") == (0, "")
        assert caller.set("another", "v", user="u2") == (0, "")
        assert caller.set("another", "v", below="/user-data/by-email/") == (0, "")
        assert caller.set("another", "v") == (-6, DENIED)
        assert caller.set(min(kept), "v", app="a2") == (-6, DENIED)
    assert stored.count() == 23


def test_the_last_place_of_a_quota_goes_to_one_key(course: Server, stored: Any) -> None:
    """However many write it: the first of them makes it, the others update it."""
    with closing(Caller(course.port)) as caller:
        for n in range(19):
            assert caller.set(f"key {n}", "v") == (0, "")

    results = race(course.port, (to_set(f"new {n % 10}", "v") for n in range(40)))

    assert Counter(results) == {(0, ""): 4, (-5, FULL): 36}
    assert stored.count() == 20
    assert stored.get(key__startswith="new").revision == 4


def test_a_quota_holds_while_keys_come_and_go(course: Server, stored: Any) -> None:
    def setter(number: int) -> Callable[[Caller], Any]:
        return lambda caller: {caller.set(f"key {(7 * n + number) % 40}", "v") for n in range(20)}

    def deleter(number: int) -> Callable[[Caller], Any]:
        return lambda caller: [caller.delete(f"key {(11 * n + number) % 40}") for n in range(20)]

    results = race(course.port, [*map(setter, range(12)), *map(deleter, range(4))])

    assert all(each <= {(0, ""), (-5, FULL)} for each in results[:12])
    assert stored.count() <= 20
    results = race(course.port, (to_set(f"key {n}", "v") for n in range(40)))
    assert stored.count() == 20
    assert Counter(results) == {(0, ""): 20, (-5, FULL): 20}


def test_quotas_filled_at_once_do_not_touch_each_other(course: Server, stored: Any) -> None:
    places = [(f"user {n % 2}", f"app {n // 2 % 2}", n) for n in range(100)]  # 25 keys for each of four

    results = race(course.port, (to_set(f"key {p[2]}", "v", p[0], p[1]) for p in places))

    assert Counter((user, app, result[0]) for (user, app, _), result in zip(places, results, strict=True)) == {
        (f"user {user}", f"app {app}", result): many
        for user in range(2)
        for app in range(2)
        for result, many in ((0, 20), (-5, 5))
    }
    assert Counter(stored.values_list("owner_id", "app")) == {
        (f"user {user}", f"app {app}"): 20 for user in range(2) for app in range(2)
    }


def test_a_client_that_waits_for_each_answer_ends_with_its_last_value(course: Server, stored: Any) -> None:
    def runner(key: str) -> Callable[[Caller], list[Any]]:
        return lambda caller: [caller.set(key, str(n)) for n in range(1, 51)]

    results = race(course.port, (runner(f"key {number}") for number in range(8)))

    assert results == [[(0, "")] * 50] * 8
    assert list(stored.values_list("value", "revision")) == [("50", 50)] * 8


def test_what_was_acknowledged_is_committed_and_read_through_every_worker(course: Server, stored: Any) -> None:
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(course.port))) for _ in range(8)]
        for n in range(50):
            assert callers[n % 8].set("key", str(n)) == (0, "")
            assert stored.values_list("value", "revision").get() == (str(n), n + 1)
            assert callers[(3 * n + 1) % 8].get("key") == str(n)


def test_writers_that_meet_in_opposite_orders_do_not_lock_each_other_out(course: Server, stored: Any) -> None:
    """All make and update the same few keys, every one in an order of its own, so that batches cross."""
    places = [(f"user {user}", f"key {key}") for user in range(2) for key in range(4)]

    def runner(number: int) -> Callable[[Caller], list[Any]]:
        order = Random(number).sample(places * 4, 32)
        return lambda caller: [caller.set(key, f"by {number}", user) for user, key in order]

    before = failed_transactions()
    results = race(course.port, (runner(number) for number in range(48)))

    assert results == [[(0, "")] * 32] * 48
    assert Counter(stored.values_list("revision", flat=True)) == {192: 8}
    assert failed_transactions() == before  # nor did any have to give up and try again


def test_sets_and_deletes_that_meet_in_any_order_do_not_lock_each_other_out(course: Server, stored: Any) -> None:
    keys = [f"key {number}" for number in range(8)]

    def setter(number: int) -> Callable[[Caller], Any]:
        order = Random(number).sample(keys * 4, 32)
        return lambda caller: {caller.set(key, f"by {number}") for key in order}

    def deleter(number: int) -> Callable[[Caller], Any]:
        random = Random(number)
        return lambda caller: sum(Counter(caller.delete(*random.sample(keys, 8)).values())[True] for _ in range(16))

    before = failed_transactions()
    results = race(course.port, [*map(setter, range(24)), *map(deleter, range(8))])

    assert results[:24] == [{(0, "")}] * 24
    assert 8 <= sum(results[24:]) <= 24 * 32
    assert failed_transactions() == before


def test_sets_and_deletes_of_one_key_at_once_leave_what_some_order_of_them_explains(
    course: Server, stored: Any
) -> None:
    random = Random(7)
    state: tuple[str, int] | None = None

    def act(value: str | None, caller: Caller) -> bool:
        """Whether it was done: a delete finds something or not."""
        if value is None:
            return caller.delete("key")["key"]
        return caller.set("key", value) == (0, "")

    for _ in range(60):
        values = [f"{random.random()}" if random.random() < 0.6 else None for _ in range(8)]
        done = race(course.port, (partial(act, value) for value in values))
        after = stored.values_list("value", "revision").first()
        assert is_explained(tuple(zip(values, done, strict=True)), state, after)
        state = after


def is_explained(
    history: tuple[tuple[str | None, bool], ...], before: tuple[str, int] | None, after: tuple[str, int] | None
) -> bool:
    """Whether some order of the sets, and of the deletes (None) that found something or not, leads to what is there."""

    @cache
    def leads(left: frozenset[int], state: tuple[str, int] | None) -> bool:
        if not left:
            return state == after
        for nth in left:
            value, is_done = history[nth]
            if value is not None and is_done:
                following: tuple[str, int] | None = (value, state[1] + 1 if state else 1)
            elif value is None and is_done == (state is not None):
                following = None
            else:
                continue
            if leads(left - {nth}, following):
                return True
        return False

    return leads(frozenset(range(len(history))), before)
