"""Statements that meet: on one quota, on the same keys in any order, at a lock, and at a row that fails."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.application import Response
from tests.storage.conftest import APP, USER, Run, put, told
from userdata.service import connection_parameters
from userdata.storage import (
    Name,
    NotStorable,
    OwnedByAnotherApp,
    Owner,
    QuotaReached,
    Store,
    StoreUnavailable,
)

LOCK_WAIT = 0.2  # seconds, after which a statement gives up a row that another transaction has locked


def failed_transactions(application: str) -> int:
    """How many there have been in this database. A session tells at its end, so those of `application` are ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = %s", [application]
        )
        cursor.execute("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        ((number,),) = cursor.fetchall()
    return int(number)


@contextmanager
def no_failed_transaction() -> Iterator[None]:
    """The store would try again, so that callers hear nothing of it."""
    before = failed_transactions("racer")
    yield
    assert failed_transactions("racer") == before


@pytest.fixture
def racers(open_store: Callable[..., Store]) -> list[Store]:
    return [open_store(application_name="racer") for _ in range(4)]


def test_a_quota_holds_between_statements_that_race(run: Run, racers: list[Store], stored: Any, settings: Any) -> None:
    settings.MAX_KEYS_PER_APP = 10

    async def race(number: int) -> list[Any]:
        return [outcome for n in range(10) for outcome in await told(put(racers[number], f"{number}-{n}"))]

    with no_failed_transaction():
        outcomes = [outcome for each in run(told(*map(race, range(4)))) for outcome in each]

    assert Counter(outcomes) == {None: 10, QuotaReached: 30}
    assert stored.count() == 10


def test_of_apps_that_race_for_new_keys_one_owns_each(run: Run, racers: list[Store], stored: Any) -> None:
    async def race(number: int) -> dict[int, Any]:
        keys = Random(number).sample(range(50), 50)
        return dict(
            zip(keys, await told(*(put(racers[number], str(n), app=f"app {number}") for n in keys)), strict=True)
        )

    with no_failed_transaction():
        outcomes = run(told(*map(race, range(4))))

    owners = {int(key): app for key, app in stored.values_list("key", "app")}
    assert len(owners) == 50
    for number, each in enumerate(outcomes):
        assert each == {n: None if owners[n] == f"app {number}" else OwnedByAnotherApp for n in range(50)}


def test_sets_of_the_same_keys_in_any_order_do_not_wait_for_each_other(
    run: Run, racers: list[Store], stored: Any
) -> None:
    places = [(f"k{n % 5}", Owner("user", f"u{n % 4}")) for n in range(20)]

    async def turns(number: int) -> list[Any]:
        random, outcomes = Random(number), []
        for _ in range(25):
            order = random.sample(places, 20)
            outcomes += await told(*(put(racers[number], key, owner=owner) for key, owner in order))
        return outcomes

    with no_failed_transaction():
        assert run(told(*map(turns, range(4)))) == [[None] * 500] * 4
    assert set(stored.values_list("revision", flat=True)) == {100}


def test_sets_and_deletes_of_the_same_keys_in_any_order_do_not_wait_for_each_other(
    run: Run, racers: list[Store], stored: Any
) -> None:
    keys = ["b", "B", "a", "A", "é", "z", "Z", "_", "-", "10", "9", "a/b"]

    writing = {0, 1}

    async def sets(number: int) -> list[Any]:
        random, outcomes = Random(number), []
        for _ in range(40):
            outcomes += await told(*(put(racers[number], key) for key in random.sample(keys, 12)))
        writing.discard(number)
        return outcomes

    async def deletes(number: int) -> Counter[str]:
        random, deleted = Random(number), Counter[str]()
        while writing:
            deleted.update(await racers[number].delete(USER, APP, random.sample(keys, 12)))
        return deleted

    with no_failed_transaction():
        *written, ours, theirs = run(told(sets(0), sets(1), deletes(2), deletes(3)))

    assert written == [[None] * 480] * 2
    deleted = ours + theirs
    for key in keys:
        # Each delete that found a key was behind a set of its own.
        assert 0 < deleted[key] <= 80
        assert deleted[key] < 80 or not stored.filter(key=key).exists()


@contextmanager
def locked(*keys: str) -> Iterator[None]:
    """Another transaction, as an operator's, holds rows."""
    with psycopg.connect(**connection_parameters()) as holder:
        holder.execute("SELECT FROM userdata_storedvalue WHERE key = ANY(%s) FOR UPDATE", [list(keys)])
        yield


def test_a_locked_row_holds_up_nobody_else(run: Run, store: Store, stored: Any) -> None:
    others = [f"other {number}" for number in range(20)]
    run(told(*(put(store, key) for key in ["locked", "locked too", *others])))

    async def meanwhile() -> dict[str, float]:
        """Who was told of success, and after how long."""
        took: dict[str, float] = {}

        async def timed(key: str, value: str) -> None:
            began = time.monotonic()
            await put(store, key, value)
            took[f"{key}: {value}"] = time.monotonic() - began

        stuck = [asyncio.create_task(timed(key, "2")) for key in ("locked", "locked too")]
        await asyncio.gather(*(timed(key, "2") for key in others))  # in the same batch
        assert await store.get(USER, APP, [Name("locked"), Name("other 7")]) == {0: "v", 1: "2"}
        assert await store.delete(USER, APP, ["other 7"]) == {"other 7"}
        while not stuck[0].done():
            await asyncio.gather(*(timed(key, "3") for key in others))  # the locked ones are known now
        assert [type(task.exception()) for task in stuck] == [StoreUnavailable] * 2
        return took

    with locked("locked", "locked too"):
        took = run(meanwhile())

    assert took.keys() == {f"{key}: {value}" for key in others for value in "23"}
    assert max(took[f"{key}: 2"] for key in others) < 1.5
    assert max(took[f"{key}: 3"] for key in others) < 0.5
    assert {key: value for key, value in stored.values_list("key", "value") if "locked" in key} == {
        "locked": "v",
        "locked too": "v",
    }


def test_a_row_that_is_locked_for_a_moment_is_written_when_it_is_free(run: Run, store: Store, stored: Any) -> None:
    run(told(put(store, "locked"), put(store, "other")))

    async def meanwhile() -> list[Any]:
        with locked("locked"):
            writes = [asyncio.create_task(told(put(store, "locked", str(n)))) for n in range(3)]
            await asyncio.sleep(3 * LOCK_WAIT)
        return [await write for write in writes]

    assert run(meanwhile()) == [[None]] * 3
    assert stored.get(key="locked").value == "2"


def test_a_delete_of_a_locked_row_deletes_nothing(run: Run, store: Store, stored: Any) -> None:
    run(told(*(put(store, key) for key in "abc")))

    with locked("b"):
        assert run(told(store.delete(USER, APP, ["a", "b", "c"]))) == [StoreUnavailable]

    assert set(stored.values_list("key", flat=True)) == {"a", "b", "c"}
    assert run(store.delete(USER, APP, ["a", "b", "c"])) == {"a", "b", "c"}


def test_a_locked_table_is_told_to_all_in_time(run: Run, store: Store, stored: Any) -> None:
    async def timed(call: Any) -> tuple[Any, bool]:
        began = time.monotonic()
        (outcome,) = await told(call)
        return outcome, time.monotonic() - began < 2.9

    with psycopg.connect(**connection_parameters()) as holder:
        holder.execute("LOCK TABLE userdata_storedvalue IN ACCESS EXCLUSIVE MODE")
        calls = [
            *(put(store, str(number)) for number in range(100)),
            *(store.get(USER, APP, [Name(str(number))]) for number in range(20)),
            store.list(USER, APP),
            store.list_shared(USER, APP, "", 100),
            store.delete(USER, APP, ["1"]),
        ]
        assert run(told(*map(timed, calls))) == [(StoreUnavailable, True)] * 123

    assert not stored.exists()
    assert run(told(put(store, "after"))) == [None]


@contextmanager
def refusing(rules: str) -> Iterator[None]:
    """Each row that is written goes by these rules, in PL/pgSQL, before it is stored."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {rules} RETURN NEW; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON userdata_storedvalue"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        yield
        cursor.execute("DROP FUNCTION refuse CASCADE")


@pytest.fixture
def index_build(stored: Any) -> Iterator[None]:
    """A key may be doubled, in spite of ON CONFLICT, while another unique index is built: here for three times."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE attempts")
        with refusing("IF NEW.value = 'doubled' AND nextval('attempts') <= 3 THEN RAISE unique_violation; END IF;"):
            yield
        cursor.execute("DROP SEQUENCE attempts")


@pytest.mark.parametrize("is_new", [True, False])
def test_a_key_that_is_doubled_for_a_moment_is_written_at_the_next_try(
    run: Run, store: Store, stored: Any, index_build: None, is_new: bool
) -> None:
    run(told(*(put(store, key) for key in (("b",) if is_new else ("a", "b")))))

    assert run(told(put(store, "a", "doubled"), put(store, "b", "2"), put(store, "c", "3"))) == [None] * 3
    assert dict(stored.values_list("key", "value")) == {"a": "doubled", "b": "2", "c": "3"}


@pytest.fixture
def poison(stored: Any) -> Iterator[None]:
    """PostgreSQL refuses some values, as it might for a reason that the service can't foresee."""
    with refusing(
        "IF NEW.value = 'poison' THEN RAISE EXCEPTION 'poisoned: %', NEW.value; END IF;"
        " IF NEW.value = 'ill' THEN RAISE EXCEPTION USING ERRCODE = '22000', MESSAGE = 'ill'; END IF;"
    ):
        yield


def test_a_row_that_fails_a_statement_fails_alone(
    run: Run, store: Store, stored: Any, poison: None, caplog: pytest.LogCaptureFixture
) -> None:
    run(put(store, "b", "before"))

    writes = [put(store, "a"), put(store, "b", "poison"), put(store, "c", "ill"), put(store, "d")]
    assert run(told(*writes)) == [None, StoreUnavailable, NotStorable, None]
    assert run(told(put(store, "b", "poison"))) == [StoreUnavailable]

    assert dict(stored.values_list("key", "value")) == {"a": "v", "b": "before", "d": "v"}
    assert "P0001" in caplog.text
    assert "poison" not in caplog.text


def test_a_row_that_fails_is_answered_and_stores_nothing(
    post: Callable[..., Response], stored: Any, poison: None
) -> None:
    post({"value_key": "a", "value_data": "before"})

    response = post({"value_key": "a", "value_data": "poison", "request_id": 7})

    assert (response.status_code, response["Retry-After"]) == (200, "1")
    assert response.json() == {"request_id": 7, "result": -4}
    assert stored.get().value == "before"
    assert post({"value_key": "b", "value_data": "after"}).json() == {"result": 0}
