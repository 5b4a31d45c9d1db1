"""The store over a real database: what is written, who owns it, how much of it there may be, and who may read it."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from django.db import connection

from tests.storage.conftest import APP, USER, Run, put, told
from userdata.models import StoredValue
from userdata.storage import Name, NotStorable, OwnedByAnotherApp, Owner, QuotaReached, Store, TooMuchData

OTHER = Owner("user", "other")


def test_it_stores_new_keys_and_old_ones_of_many_owners_together(run: Run, store: Store, stored: Any) -> None:
    run(told(put(store, "a"), put(store, "b", owner=OTHER)))

    writes = [
        put(store, "b", "2", owner=OTHER, scope=1),
        put(store, "a", "2"),
        put(store, "c", "1"),
        put(store, "a", owner=Owner("email", "user")),
    ]
    assert run(told(*writes)) == [None] * 4
    assert list(
        stored.order_by("owner_kind", "owner_id", "key").values_list(
            "owner_kind", "owner_id", "key", "value", "access_scope", "revision"
        )
    ) == [
        ("email", "user", "a", "v", 0, 1),
        ("user", "other", "b", "2", 1, 2),
        ("user", "user", "a", "2", 0, 2),
        ("user", "user", "c", "1", 0, 1),
    ]


def test_the_last_of_several_writes_to_one_place_wins_and_all_are_counted(run: Run, store: Store, stored: Any) -> None:
    assert run(told(*(put(store, "a", str(n), scope=n % 2) for n in range(10)))) == [None] * 10

    assert stored.values_list("value", "access_scope", "revision").get() == ("9", 1, 10)


def test_an_overwrite_says_all_of_it_anew(run: Run, store: Store, stored: Any) -> None:
    run(put(store, "a", "before", scope=1))
    before = stored.get()

    run(put(store, "a", "after", scope=0))

    after = stored.get()
    assert (after.value, after.access_scope, after.app, after.revision) == ("after", 0, APP, 2)
    assert (after.id, after.created_at) == (before.id, before.created_at)
    assert after.updated_at > before.updated_at


def test_the_app_that_set_a_key_first_owns_it(run: Run, store: Store, stored: Any) -> None:
    assert run(told(put(store, "a", "mine"), put(store, "a", "theirs", app="other"))) == [None, OwnedByAnotherApp]
    assert run(told(put(store, "a", "theirs", app="other"))) == [OwnedByAnotherApp]

    assert stored.values_list("app", "value", "revision").get() == (APP, "mine", 1)
    assert run(told(put(store, "a", app="other", owner=OTHER))) == [None]


def test_a_refused_write_does_not_refuse_its_neighbours(run: Run, store: Store, stored: Any, settings: Any) -> None:
    settings.MAX_KEYS_PER_APP = 2
    run(told(put(store, "a"), put(store, "mine", app="other app")))

    writes = [
        put(store, "b"),
        put(store, "mine"),
        put(store, "c"),
        put(store, "a", "2"),
        put(store, "d", owner=OTHER),
    ]
    assert run(told(*writes)) == [None, OwnedByAnotherApp, QuotaReached, None, None]
    assert set(stored.values_list("key", "value")) == {("a", "2"), ("b", "v"), ("mine", "v"), ("d", "v")}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("k", "nul \0", id="NUL in the value"),
        pytest.param("nul \0", "v", id="NUL in the key"),
        pytest.param("".join(chr(0x10000 + 7919 * n % 0xFFFFF) for n in range(800)), "v", id="no index entry holds it"),
    ],
)
def test_what_postgresql_can_not_store_is_refused_alone(
    run: Run, store: Store, stored: Any, key: str, value: str
) -> None:
    assert run(told(put(store, "a"), put(store, key, value), put(store, "b"))) == [None, NotStorable, None]
    assert run(told(put(store, key, value))) == [NotStorable]
    assert set(stored.values_list("key", flat=True)) == {"a", "b"}


# Quotas


def test_a_quota_is_of_one_app_and_one_owner(run: Run, store: Store, stored: Any, settings: Any) -> None:
    settings.MAX_KEYS_PER_APP = 2
    full = [None, None, QuotaReached]

    assert run(told(*(put(store, key) for key in "abc"))) == full
    assert run(told(*(put(store, f"{key}2", app="other") for key in "abc"))) == full
    assert run(told(*(put(store, key, owner=OTHER) for key in "abc"))) == full
    for kind in ("email", "idp", "wallet"):
        assert run(told(*(put(store, key, owner=Owner(kind, "user")) for key in "abc"))) == full
    assert run(told(put(store, "a", "new"), put(store, "d"))) == [None, QuotaReached]
    assert stored.get(owner_kind="user", owner_id="user", key="a").value == "new"
    assert stored.count() == 12


def test_the_default_quota_is_2000_keys(run: Run, store: Store, stored: Any) -> None:
    stored.bulk_create(
        StoredValue(owner_kind="user", owner_id="user", key=str(n), value="v", app=APP) for n in range(1999)
    )

    assert run(told(put(store, "the 2000th"), put(store, "one more"))) == [None, QuotaReached]
    assert run(told(put(store, "0"), put(store, "one more"))) == [None, QuotaReached]
    assert run(told(put(store, "one more"))) == [QuotaReached]
    assert stored.count() == 2000


def test_a_full_quota_has_room_for_a_key_once_another_is_deleted(
    run: Run, store: Store, stored: Any, settings: Any
) -> None:
    settings.MAX_KEYS_PER_APP = 2
    assert run(told(*(put(store, key) for key in "abc"))) == [None, None, QuotaReached]

    assert run(store.delete(USER, APP, ["a"])) == {"a"}
    assert run(told(put(store, "c"), put(store, "d"))) == [None, QuotaReached]
    assert set(stored.values_list("key", flat=True)) == {"b", "c"}


# Reading


def test_a_get_finds_own_keys_private_or_public_and_nobody_elses(run: Run, store: Store) -> None:
    run(
        told(
            put(store, "private", "1"),
            put(store, "public", "2", scope=1),
            put(store, "theirs", "3", app="other", scope=1),
            put(store, "private", "4", owner=OTHER),
            put(store, "elsewhere", "5", owner=Owner("email", "user")),
        )
    )

    names = [Name(key) for key in ("no", "public", "private", "theirs", "elsewhere", "")]
    assert run(store.get(USER, APP, names)) == {1: "2", 2: "1"}
    assert run(store.get(Owner("user", "nobody"), APP, names)) == {}
    assert run(store.get(USER, APP, [])) == {}


def test_a_get_finds_what_another_app_shares_only_by_its_name_and_only_if_public(run: Run, store: Store) -> None:
    run(
        told(
            put(store, "public", "1", app="other", scope=1),
            put(store, "private", "2", app="other", scope=0),
            put(store, "mine", "3", scope=1),
            put(store, "public", "of another user", app="other", scope=1, owner=OTHER),
        )
    )

    names = [
        Name("other/public", "other", "public"),
        Name("other/private", "other", "private"),
        Name("app/mine", "app", "mine"),
        Name("third/public", "third", "public"),
        Name("", "other", "public"),
        Name("public"),
    ]
    assert run(store.get(USER, APP, names)) == {0: "1", 2: "3", 4: "1"}


def test_an_own_key_goes_before_a_shared_one_of_the_same_name(run: Run, store: Store) -> None:
    run(told(put(store, "key", "shared", app="other", scope=1), put(store, "other/key", "own")))

    assert run(store.get(USER, APP, [Name("other/key", "other", "key")])) == {0: "own"}
    assert run(store.get(USER, "third", [Name("other/key", "other", "key")])) == {0: "shared"}


def test_gets_of_many_callers_do_not_mix(run: Run, store: Store) -> None:
    owners = [Owner("user", f"user {number}") for number in range(40)]
    run(told(*(put(store, key, f"{key} of {owner.id}", owner=owner) for owner in owners for key in "ab")))

    reads = [store.get(owner, APP, [Name("b"), Name("no"), Name("a")]) for owner in owners]
    assert run(told(*reads)) == [{0: f"b of {owner.id}", 2: f"a of {owner.id}"} for owner in owners]


def test_a_get_of_too_much_data_is_refused_alone_and_a_single_value_never(
    run: Run, store: Store, settings: Any
) -> None:
    settings.MAX_VALUES_BYTES = 1000
    values = {"small": "x" * 400, "euro": "€" * 200, "one more": "x", "huge": "x" * 5000}
    run(told(*(put(store, key, value) for key, value in values.items())))

    reads = [
        [Name("small"), Name("euro")],
        [Name("small"), Name("euro"), Name("one more")],
        [Name("huge")],
        [Name("huge"), Name("no"), Name("nor this")],
        [Name("huge"), Name("one more")],
        [Name("one more")],
    ]
    assert run(told(*(store.get(USER, APP, names) for names in reads))) == [
        {0: values["small"], 1: values["euro"]},
        TooMuchData,
        {0: values["huge"]},
        {0: values["huge"]},
        TooMuchData,
        {0: "x"},
    ]


def test_values_of_too_much_data_stay_unread(run: Run, open_store: Callable[..., Store], stored: Any) -> None:
    def blocks_read() -> int:
        """Of the values that PostgreSQL keeps apart for their size. Sessions tell at their end."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'reader'"
            )
            cursor.execute(
                "SELECT toast_blks_hit + toast_blks_read FROM pg_statio_user_tables"
                " WHERE relname = 'userdata_storedvalue'"
            )
            ((number,),) = cursor.fetchall()
        return int(number)

    store = open_store(application_name="reader")
    run(told(*(put(store, str(n), Random(n).randbytes(131_072).hex()) for n in range(33))))
    before = blocks_read()

    assert run(told(store.get(USER, APP, [Name(str(n)) for n in range(33)]))) == [TooMuchData]
    assert blocks_read() == before
    assert len(run(store.get(USER, APP, [Name(str(n)) for n in range(32)]))) == 32
    assert blocks_read() > before + 500


def test_a_value_comes_back_as_it_was_given(run: Run, store: Store) -> None:
    values = ["", " \n\t\r", "\x01\x7f\x85\ufeff", "\u202e\u2028\U0010ffff", "x" * 262_144, "€" * 87_381]
    run(told(*(put(store, str(number), value) for number, value in enumerate(values))))

    names = [Name(str(number)) for number in range(len(values))]
    assert run(store.get(USER, APP, names)) == dict(enumerate(values))


def test_a_list_is_of_the_apps_own_keys_by_code_point(run: Run, store: Store) -> None:
    keys = ["b", "B", "a", "é", "\uffff", "\U00010000", "a/b", "a b", "Z", "1", "10", "2"]
    run(told(*(put(store, key, scope=len(key) % 2) for key in keys)))
    run(told(put(store, "theirs", app="other", scope=1), put(store, "of another", owner=OTHER)))

    assert run(store.list(USER, APP)) == [(key, len(key) % 2) for key in sorted(keys)]
    assert run(store.list(USER, "nobody")) == []


def test_a_shared_list_is_of_the_other_apps_public_keys_page_by_page(run: Run, store: Store) -> None:
    run(
        told(
            *(put(store, f"p{number:02}", app=f"app {number % 3}", scope=1) for number in range(30)),
            put(store, "p05 private", app="app 1", scope=0),
            put(store, "p05 elsewhere", app="app 1", scope=1, owner=OTHER),
        )
    )

    first = run(store.list_shared(USER, "app 0", "", 8))
    assert first == [(f"app {number % 3}", f"p{number:02}") for number in (1, 2, 4, 5, 7, 8, 10, 11)]
    rest = run(store.list_shared(USER, "app 0", "p11", 100))
    assert rest == [(f"app {number % 3}", f"p{number:02}") for number in range(12, 30) if number % 3]
    assert run(store.list_shared(USER, "app 0", "p29", 100)) == []
    assert len(run(store.list_shared(USER, "app 3", "", 100))) == 30


# Deleting


def test_a_delete_takes_the_apps_own_keys_and_says_which_were_there(run: Run, store: Store, stored: Any) -> None:
    run(
        told(
            *(put(store, key, scope=scope) for key, scope in (("a", 0), ("b", 1), ("stays", 0))),
            put(store, "theirs", app="other", scope=1),
            put(store, "a", owner=OTHER),
            put(store, "a", owner=Owner("wallet", "user")),
        )
    )

    assert run(store.delete(USER, APP, ["b", "no", "a", "theirs", "a"])) == {"a", "b"}
    assert run(store.delete(USER, APP, ["b", "no", "a", "theirs"])) == set()
    assert run(store.delete(USER, APP, [])) == set()
    assert set(stored.values_list("owner_kind", "owner_id", "key")) == {
        ("user", "user", "stays"),
        ("user", "user", "theirs"),
        ("user", "other", "a"),
        ("wallet", "user", "a"),
    }


def test_a_deleted_key_may_be_set_by_another_app(run: Run, store: Store, stored: Any) -> None:
    run(put(store, "a", "old", scope=1))
    assert run(store.delete(USER, APP, ["a"])) == {"a"}

    assert run(told(put(store, "a", "new", app="other"))) == [None]
    assert stored.values_list("app", "value", "access_scope", "revision").get() == ("other", "new", 0, 1)
