"""The store over a real database: ownership, quota, and one row's trouble that stays its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection

from userdata import store
from userdata.exceptions import InvalidParameters, KeyAccessDenied, ServiceUnavailable
from userdata.group_commit import Row
from userdata.models import StoredValue
from userdata.pool import Pool
from userdata.store import Owner, Write
from userdata.waiting import wait


def write(key: str = "k", value: str = "v", app: str = "app", user: str = "user", scope: int = 0) -> Write:
    return Write(Owner("user", user), key, value, app, scope)


def commit(*writes: Write) -> list[type | None]:
    """Store writes in one statement, as concurrent requests would; the kinds of their failures."""
    return [failure and type(failure) for failure in wait(store._commit, [Row(each) for each in writes])]


def test_each_constraint_and_index_leads_with_the_owner() -> None:
    """Fit for distribution by owner; the one exception is the surrogate key that Django's admin needs."""
    assert [list(constraint.fields) for constraint in StoredValue._meta.constraints] == [  # type: ignore[attr-defined]
        ["owner_kind", "owner_id", "key"]
    ]
    assert not StoredValue._meta.indexes
    assert [f.name for f in StoredValue._meta.fields if f.unique or f.db_index] == ["id"]
    assert StoredValue._meta.pk.name == "id"


def test_one_statement_stores_new_keys_and_old_ones_of_many_owners(stored: Any) -> None:
    commit(write("a"), write("b", user="other"))

    assert (
        commit(write("b", "2", user="other"), write("a", "2"), write("c", "1"), write("a", user="third")) == [None] * 4
    )
    assert list(stored.order_by("owner_id", "key").values_list("owner_id", "key", "value", "revision")) == [
        ("other", "b", "2", 2),
        ("third", "a", "v", 1),
        ("user", "a", "2", 2),
        ("user", "c", "1", 1),
    ]


def test_a_refused_row_does_not_refuse_its_neighbours(stored: Any, settings: Any) -> None:
    settings.MAX_KEYS_PER_APP = 2
    commit(write("a"), write("mine", app="other app"))

    outcomes = commit(write("b"), write("mine"), write("c"), write("a", "2"), write("d", user="third"))

    assert outcomes == [None, KeyAccessDenied, InvalidParameters, None, None]
    assert set(stored.values_list("key", "value")) == {("a", "2"), ("b", "v"), ("mine", "v"), ("d", "v")}


def test_the_quota_is_by_user_and_app(stored: Any, settings: Any) -> None:
    settings.MAX_KEYS_PER_APP = 2

    assert commit(*(write(key) for key in "abc")) == [None, None, InvalidParameters]
    assert commit(*(write(f"{key}2", app="other") for key in "abc")) == [None, None, InvalidParameters]
    assert commit(*(write(key, user="other") for key in "abc")) == [None, None, InvalidParameters]
    assert commit(write("a", "new"), write("d")) == [None, InvalidParameters]
    assert stored.get(owner_id="user", key="a").value == "new"
    assert stored.count() == 6


def test_the_default_quota_is_2000_keys(stored: Any) -> None:
    StoredValue.objects.bulk_create(
        StoredValue(owner_kind="user", owner_id="user", key=str(n), value="v", app="app") for n in range(1999)
    )

    assert commit(write("the 2000th"), write("one more")) == [None, InvalidParameters]
    assert commit(write("0"), write("one more")) == [None, InvalidParameters]
    assert stored.count() == 2000


def test_the_quota_holds_between_statements_that_race(stored: Any, settings: Any) -> None:
    settings.MAX_KEYS_PER_APP = 10
    start = threading.Barrier(4)

    def race(racer: int) -> list[type | None]:
        start.wait()
        return [outcome for n in range(10) for outcome in commit(write(f"{racer}-{n}"))]

    with ThreadPoolExecutor(4) as threads:
        outcomes = [outcome for found in threads.map(race, range(4)) for outcome in found]

    assert stored.count() == outcomes.count(None) == 10
    assert outcomes.count(InvalidParameters) == 30


def test_statements_over_the_same_rows_in_any_order_do_not_wait_for_each_other(stored: Any) -> None:
    writes = [write(f"k{n % 5}", user=f"u{n % 4}", app="app") for n in range(20)]
    distinct = list({each.place: each for each in writes}.values())

    def turn(number: int) -> list[type | None]:
        shift = number % len(distinct)
        rotated = distinct[shift:] + distinct[:shift]
        return commit(*(rotated if number % 2 else rotated[::-1]))

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(turn, range(100)))

    assert outcomes == [[None] * len(distinct)] * 100
    assert set(stored.values_list("revision", flat=True)) == {100}


@pytest.fixture
def poison(stored: Any) -> Any:
    """PostgreSQL refuses one value, as it might for a reason that the service can't foresee."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.value = 'poison' THEN RAISE EXCEPTION 'poisoned: %', NEW.value; END IF;"
            " IF NEW.value = 'ill' THEN RAISE EXCEPTION USING ERRCODE = '22000', MESSAGE = 'ill'; END IF;"
            " RETURN NEW; END $$;"
            "CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON userdata_storedvalue"
            " FOR EACH ROW EXECUTE FUNCTION poison()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION poison CASCADE")


def test_a_row_that_fails_a_statement_fails_alone(stored: Any, poison: None, caplog: Any) -> None:
    outcomes = commit(write("a"), write("b", "poison"), write("c", "ill"), write("d"))

    assert outcomes == [None, ServiceUnavailable, InvalidParameters, None]
    assert set(stored.values_list("key", flat=True)) == {"a", "d"}
    assert "poisoned" not in caplog.text


def test_a_row_that_fails_is_answered_and_stores_nothing(post: Any, stored: Any, poison: None) -> None:
    post({"value_key": "a", "value_data": "before"})

    response = post({"value_key": "a", "value_data": "poison", "request_id": 7})

    assert (response.status_code, response.json(), response["Retry-After"]) == (
        200,
        {"request_id": 7, "result": -4},
        "1",
    )
    assert stored.get().value == "before"
    assert post({"value_key": "b", "value_data": "after"}).json() == {"result": 0}


def test_a_row_locked_elsewhere_holds_up_nobody_else(stored: Any) -> None:
    commit(write("locked"), write("free"))
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM userdata_storedvalue WHERE key = 'locked' FOR UPDATE")
        try:
            assert commit(write("locked", "2"), write("free", "2")) == [ServiceUnavailable, None]
        finally:
            cursor.execute("ROLLBACK")

    assert dict(stored.values_list("key", "value")) == {"locked": "v", "free": "2"}


def test_a_connection_that_can_not_be_made_ready_leaves_nothing_behind(stored: Any) -> None:
    """Neither an open session nor a watch on a socket whose number the next connection gets."""
    for _ in range(5):
        unready, ready = Pool({b"bad": "SELECT nonsense"}), Pool({b"one": "SELECT 1"})
        with pytest.raises(psycopg.OperationalError):
            wait(unready.execute, b"bad", [], [])
        for _ in range(3):
            assert wait(ready.execute, b"one", [], []).ntuples == 1
        wait(ready.close)
    deadline = time.monotonic() + 5
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT nonsense'")
            if cursor.fetchone() == (0,):
                break
            assert time.monotonic() < deadline


def test_an_answer_waits_for_the_disk_whatever_the_servers_default(stored: Any) -> None:
    pool = Pool({b"show": "SHOW synchronous_commit"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_database())")
        name = cursor.fetchone()[0]
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        try:
            assert wait(pool.execute, b"show", [], []).get_value(0, 0) == b"on"
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
            wait(pool.close)
