"""Storage by user id: acceptance cases 18 to 36."""

from collections.abc import Callable
from typing import Any

from tests.endpoints.conftest import Ask, Play, Rows, Stored, exact
from tests.endpoints.family import K101, A, B, C
from userdata.models import StoredValue

BELOW = "/user-data/by-user-id/"
OK = {"result": 0}


def get(*keys: str) -> dict[str, Any]:
    return {"value_keys": list(keys)}


def values(**found: str) -> dict[str, Any]:
    return {"result": 0, "values": [{"value_key": key, "value_data": value} for key, value in found.items()]}


def deleted(result: int, **keys: bool) -> dict[str, Any]:
    return {"result": result, "keys_delete_results": [{"value_key": k, "is_deleted": is_} for k, is_ in keys.items()]}


def test_one_app_keeps_shares_and_deletes_and_another_sees_only_what_is_shared(
    play: Play, ask: Ask, stored: Stored, rows: Callable[[], Rows]
) -> None:
    nothing_to_list = {"result": 1, "keys_private": [], "keys_public": []}
    nothing_shared = {"result": 1, "keys_shared": [], "next_search_id": ""}
    play(BELOW, [(18, A, "list-get", None, nothing_to_list), (18, A, "list-get", {}, nothing_to_list)])
    form = ask(BELOW + "list-get", None, A, **{"Content-Type": "application/x-www-form-urlencoded"})
    assert exact(form) == nothing_to_list
    play(
        BELOW,
        [
            (19, A, "set", {"value_key": "s", "value_data": "1", "access_scope": 0}, OK),
            (19, A, "set", {"value_key": "p", "value_data": "2"}, OK),
            (19, A, "set", {"value_key": "q/x", "value_data": "3", "access_scope": 1}, OK),
            (
                20,
                A,
                "list-get",
                {"request_id": -1},
                {"request_id": -1, "result": 0, "keys_private": ["s"], "keys_public": ["p", "q/x"]},
            ),
            *(
                (21, A, "set", {"value_key": "p", "value_data": "9", "access_scope": scope}, {"result": -5})
                for scope in (2, -1, "1", True, 1.0)
            ),
            (22, A, "set", {"value_key": "n", "value_data": "4", "access_scope": None}, OK),
        ],
    )
    assert stored.get(key="n").access_scope == 1
    play(
        BELOW,
        [
            (23, B, "set", {"value_key": "p", "value_data": "9"}, {"result": -6}),
            (23, B, "set", {"value_key": "s", "value_data": "9"}, {"result": -6}),
            (24, A, "set", {"value_key": "k" * 129, "value_data": "v"}, {"result": -7}),
            (24, A, "set", {"value_key": "a\u0007", "value_data": "v"}, {"result": -7}),
            (25, B, "shared-list-get", {}, OK | {"keys_shared": ["a1/n", "a1/p", "a1/q/x"], "next_search_id": ""}),
            (26, A, "shared-list-get", {"search_id": None}, nothing_shared),
            (26, C, "shared-list-get", {"search_id": None}, nothing_shared),
            (27, B, "get", get("a1/q/x", "a1/s", "p", "a1/p"), values(**{"a1/q/x": "3", "a1/p": "2"})),
        ],
    )
    hidden = [(B, "s"), (B, "a1/s"), (B, "p"), (B, "never"), (C, "p"), (C, "a1/p")]
    assert {ask(BELOW + "get", get(key), bearer).content for bearer, key in hidden} == {b'{"result": 1, "values": []}'}
    play(
        BELOW,
        [
            (29, B, "delete", get("p", "a1/p", "s"), deleted(1, **{"p": False, "a1/p": False, "s": False})),
            (29, A, "get", get("p", "s"), values(p="2", s="1")),
            (30, A, "delete", get("p", "no", "p", ""), deleted(0, **{"p": True, "no": False, "": False})),
            (31, A, "delete", get("p"), deleted(1, p=False)),
            (31, A, "delete", get(), deleted(1)),
            (32, B, "set", {"value_key": "p", "value_data": "mine"}, OK),
            (33, A, "get", get(*K101), {"result": -6, "values": []}),
            (33, A, "delete", get(*K101), {"result": -5, "keys_delete_results": []}),
            (34, A, "/user-data/set", {"value_key": "n", "value_data": "5"}, OK),
            (34, B, "shared-list-get", {}, OK | {"keys_shared": ["a1/q/x"], "next_search_id": ""}),
            (34, B, "get", get("a1/n"), {"result": 1, "values": []}),
            (34, A, "list-get", {}, OK | {"keys_private": ["n", "s"], "keys_public": ["q/x"]}),
        ],
    )
    assert sorted(stored.values_list("owner_kind", "owner_id", "key", "value", "app", "access_scope")) == [
        ("user", "u1", "n", "5", "a1", 0),
        ("user", "u1", "p", "mine", "a2", 1),
        ("user", "u1", "q/x", "3", "a1", 1),
        ("user", "u1", "s", "1", "a1", 0),
    ]


def test_values_that_are_too_large_together_are_not_read_and_one_always_is(ask: Ask) -> None:
    keys = [f"v{n:02}" for n in range(33)]
    for key in keys:
        assert exact(ask(BELOW + "set", {"value_key": key, "value_data": key[1] * 262_144})) == OK

    assert exact(ask(BELOW + "get", get(*keys))) == {"result": -6, "values": []}
    assert exact(ask(BELOW + "get", get("v32"))) == values(v32="3" * 262_144)
    assert exact(ask(BELOW + "get", get(*keys[:32]))) == values(**{key: key[1] * 262_144 for key in keys[:32]})
    assert exact(ask(BELOW + "get", get(*keys[:32], "no"))) == values(**{key: key[1] * 262_144 for key in keys[:32]})
    assert exact(ask("/user-data/get", get(*keys))) == {"result": -6, "values": []}


def test_the_quota_is_counted_for_each_storage_and_a_delete_makes_room(play: Play, stored: Stored) -> None:
    stored.bulk_create(
        StoredValue(owner_kind="user", owner_id="u1", key=f"q{n}", value="v", app="a1") for n in range(2_000)
    )
    one_more = {"value_key": "one more", "value_data": "v"}
    play(
        BELOW,
        [
            (36, A, "set", one_more, {"result": -5}),
            (36, A, "/user-data/set", one_more, {"result": -5}),
            (36, A, "set", {"value_key": "q7", "value_data": "overwritten"}, OK),
            (36, A, "/user-data/by-email/set", {"value_key": "e1", "value_data": "v"}, OK),
            (36, A, "delete", get("q0"), deleted(0, q0=True)),
            (36, A, "/user-data/by-email/set", {"value_key": "e2", "value_data": "v"}, OK),
            (36, A, "set", one_more, OK),
            (36, A, "set", {"value_key": "and another", "value_data": "v"}, {"result": -5}),
            (36, A, "/user-data/by-email/set", {"value_key": "e3", "value_data": "v"}, OK),
            (36, B, "set", {"value_key": "of another app", "value_data": "v"}, OK),
        ],
    )
    assert stored.filter(owner_kind="user", app="a1").count() == 2_000


def test_a_list_holds_all_keys_in_the_order_of_their_code_points(ask: Ask, stored: Stored) -> None:
    keys = ["B", "a", "b", "\u00e9", "\ufb01", "\U0001f511"]
    stored.bulk_create(
        StoredValue(owner_kind="user", owner_id="u1", key=key, value="v", app="a1", access_scope=scope)
        for key, scope in zip(reversed(keys), (0, 1, 0, 1, 0, 1), strict=True)
    )

    response = ask(BELOW + "list-get")

    assert exact(response) == OK | {"keys_private": ["a", "\u00e9", "\U0001f511"], "keys_public": ["B", "b", "\ufb01"]}
