"""What the law decides where the published API is silent, as far as no other file here tests it."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.application import Response, Running
from tests.endpoints.conftest import Ask, Play, Rows, Stored, exact
from tests.endpoints.family import STORAGES, A, B, C, a

BY_USER_ID = "/user-data/by-user-id/"
FOUR = [below for below in STORAGES if below != "/user-data/"]
EMPTY_PAGE = {"keys_shared": [], "next_search_id": ""}

Do = Callable[..., Response]


@pytest.fixture(params=FOUR)
def do(request: pytest.FixtureRequest, ask: Ask) -> Do:
    """Ask one of the four storages: action, token, fields."""
    below: str = request.param
    return lambda action, bearer, **fields: ask(below + action, {**STORAGES[below], **fields}, bearer)


def pair(key: str, value: str) -> dict[str, str]:
    return {"value_key": key, "value_data": value}


def seen(response: Response) -> tuple[int, bytes, Mapping[str, str]]:
    """All of an answer that a client sees, but for what tells one answer from another."""
    headers = {name: value for name, value in response.headers.items() if name not in ("x-request-id", "date")}
    return response.status_code, response.content, headers


def test_another_apps_private_key_is_answered_as_an_absent_one(do: Do, rows: Callable[[], Rows]) -> None:
    absent = [
        *(seen(do("get", bearer, value_keys=[key])) for bearer in (B, C) for key in ("s", "a1/s")),
        *(seen(do("delete", bearer, value_keys=["s", "a1/s"])) for bearer in (B, C)),
        *(seen(do(list_, bearer)) for list_ in ("list-get", "shared-list-get") for bearer in (B, C)),
        *(seen(do("shared-list-get", B, search_id=place, page_size=1)) for place in ("cg==", "cw==", "dA==")),
    ]
    assert exact(do("set", A, **pair("s", "secret"), access_scope=0)) == {"result": 0}
    before = rows()

    private = [
        *(seen(do("get", bearer, value_keys=[key])) for bearer in (B, C) for key in ("s", "a1/s")),
        *(seen(do("delete", bearer, value_keys=["s", "a1/s"])) for bearer in (B, C)),
        *(seen(do(list_, bearer)) for list_ in ("list-get", "shared-list-get") for bearer in (B, C)),
        *(seen(do("shared-list-get", B, search_id=place, page_size=1)) for place in ("cg==", "cw==", "dA==")),
    ]

    assert private == absent
    assert rows() == before


def test_a_public_key_is_nothing_to_another_user(do: Do, rows: Callable[[], Rows]) -> None:
    absent = [seen(do("get", C, value_keys=["p", "a1/p"])), seen(do("shared-list-get", C))]
    absent.append(seen(do("delete", C, value_keys=["p", "a1/p"])))
    assert exact(do("set", A, **pair("p", "v"), access_scope=1)) == {"result": 0}
    before = rows()

    public = [seen(do("get", C, value_keys=["p", "a1/p"])), seen(do("shared-list-get", C))]
    public.append(seen(do("delete", C, value_keys=["p", "a1/p"])))

    assert public == absent
    assert rows() == before


def test_an_overwrite_without_a_scope_makes_a_private_key_public(do: Do, stored: Stored) -> None:  # D7
    for scope, kept in (({"access_scope": 0}, 0), ({}, 1), ({"access_scope": 0}, 0), ({"access_scope": None}, 1)):
        assert exact(do("set", A, **pair("k", "v"), **scope)) == {"result": 0}
        assert stored.get().access_scope == kept


def test_basic_and_user_id_are_one_storage(play: Play, stored: Stored) -> None:  # D7, D8
    listed = {"result": 0, "keys_private": ["b"], "keys_public": ["p"]}
    play(
        BY_USER_ID,
        [
            (0, A, "/user-data/set", pair("b", "1"), {"result": 0}),
            (0, A, "set", pair("p", "2"), {"result": 0}),
            (0, A, "list-get", {}, listed),
            (0, A, "/user-data/get", {"value_keys": ["p"]}, {"result": 0, "values": [pair("p", "2")]}),
            (0, B, "/user-data/get", {"value_keys": ["a1/p"]}, {"result": 0, "values": [pair("a1/p", "2")]}),
            (0, B, "/user-data/get", {"value_keys": ["a1/b", "p", "b"]}, {"result": 0, "values": []}),
            (0, B, "/user-data/set", pair("p", "9"), {"result": -6}),
            (0, A, "/user-data/set", pair("p", "3"), {"result": 0}),
            (0, A, "list-get", {}, {"result": 0, "keys_private": ["b", "p"], "keys_public": []}),
            (0, B, "shared-list-get", {}, {"result": 1} | EMPTY_PAGE),
            (
                0,
                A,
                "delete",
                {"value_keys": ["b"]},
                {"result": 0, "keys_delete_results": [{"value_key": "b", "is_deleted": True}]},
            ),
            (0, A, "/user-data/get", {"value_keys": ["b"]}, {"result": 0, "values": []}),
        ],
    )
    assert stored.values_list("key", "access_scope").get() == ("p", 0)


def test_an_app_reads_its_own_public_key_under_its_listed_name_too(do: Do) -> None:
    assert exact(do("set", A, **pair("p", "1"), access_scope=1)) == {"result": 0}
    assert exact(do("set", A, **pair("s", "2"), access_scope=0)) == {"result": 0}

    answer = exact(do("get", A, value_keys=["a1/p", "p", "a1/s", "s"]))

    assert answer == {"result": 0, "values": [pair("a1/p", "1"), pair("p", "1"), pair("s", "2")]}


def test_ones_own_key_of_a_name_goes_before_anothers_shared_one(do: Do) -> None:  # D5
    for bearer, key, value in ((A, "p", "shared"), (B, "a1/p", "own")):
        assert exact(do("set", bearer, **pair(key, value), access_scope=1)) == {"result": 0}

    assert exact(do("get", B, value_keys=["a1/p"])) == {"result": 0, "values": [pair("a1/p", "own")]}
    assert exact(do("get", A, value_keys=["a2/a1/p"])) == {"result": 0, "values": [pair("a2/a1/p", "own")]}
    assert exact(do("shared-list-get", A))["keys_shared"] == ["a2/a1/p"]
    assert exact(do("delete", B, value_keys=["a1/p"]))["result"] == 0
    assert exact(do("get", B, value_keys=["a1/p"])) == {"result": 0, "values": [pair("a1/p", "shared")]}


def test_an_app_with_a_slash_or_a_percent_sign_is_named_in_one_way_only(ask: Ask) -> None:  # D5
    written = {"a/b": "a%2Fb", "100%": "100%25", "%2F": "%252F", "a%25b": "a%2525b", "/": "%2F"}
    for app in written:
        assert exact(ask(BY_USER_ID + "set", pair(f"k of {app}", app), a(azp=app))) == {"result": 0}
    listed = {f"{name}/k of {app}": app for app, name in written.items()}

    assert set(exact(ask(BY_USER_ID + "shared-list-get", {}, B))["keys_shared"]) == set(listed)
    values = exact(ask(BY_USER_ID + "get", {"value_keys": list(listed)}, B))
    assert values == {"result": 0, "values": [pair(name, app) for name, app in listed.items()]}
    other_ways = [
        *("a/b/k of a/b", "a%2fb/k of a/b", "100%/k of 100%", "%2F/k of %2F", "%252f/k of %2F", "a%25b/k of a%25b"),
        *("//k of /", "%252F/k of /", "/k of /", "%/k of /"),
    ]
    assert exact(ask(BY_USER_ID + "get", {"value_keys": other_ways}, B)) == {"result": 1, "values": []}


def test_nothing_that_was_asked_for_is_nothing_found(play: Play, stored: Stored) -> None:
    for below, field in STORAGES.items():
        body = {**field, "value_keys": []}
        basic = below == "/user-data/"
        play(below, [(0, A, "get", body, {"result": 0 if basic else 1, "values": []})])
        if not basic:
            play(below, [(0, A, "delete", body, {"result": 1, "keys_delete_results": []})])


@pytest.mark.parametrize("value_keys", ["k", {"k": 1}, 7, None, [["k"]], ["k", None], ["k", 1], [True], True], ids=repr)
def test_what_is_no_array_of_strings_is_refused(
    do: Do, stored: Stored, rows: Callable[[], Rows], value_keys: Any
) -> None:
    assert exact(do("set", A, **pair("k", "v"))) == {"result": 0}
    before = rows()

    assert exact(do("get", A, value_keys=value_keys)) == {"result": -5, "values": []}
    assert exact(do("delete", A, value_keys=value_keys)) == {"result": -5, "keys_delete_results": []}
    assert rows() == before


def test_the_elements_are_counted_and_not_the_keys(do: Do, rows: Callable[[], Rows]) -> None:
    assert exact(do("set", A, **pair("k", "v"))) == {"result": 0}
    before = rows()

    assert exact(do("get", A, value_keys=["k"] * 101))["result"] in (-6, -7)
    assert exact(do("delete", A, value_keys=["k"] * 101)) == {"result": -5, "keys_delete_results": []}
    assert rows() == before
    deleted = {"result": 0, "keys_delete_results": [{"value_key": "k", "is_deleted": True}]}
    assert exact(do("delete", A, value_keys=["k"] * 100)) == deleted


@pytest.mark.parametrize("access_scope", [2, -1, "1", "", True, False, 1.0, 0.0, [1], 2**63], ids=repr)
def test_another_access_scope_is_refused(do: Do, stored: Stored, access_scope: Any) -> None:
    response = do("set", A, **pair("k", "v"), access_scope=access_scope)

    assert exact(response) == {"result": -5}
    assert response["X-Result-Detail"] == "access_scope must be 0 (private) or 1 (public)."
    assert not stored.exists()


def test_a_value_that_is_too_large_goes_before_an_invalid_key(do: Do, stored: Stored) -> None:
    for value in ("v" * 262_145, "\0", "\ud800"):
        assert exact(do("set", A, **pair("", value))) == {"result": -5}
    assert exact(do("set", A, **pair("", "v" * 262_144)))["result"] in (-7, -8)
    assert not stored.exists()


def test_any_other_place_is_refused_or_shows_only_what_is_listed_anyway(do: Do, rows: Callable[[], Rows]) -> None:
    for bearer, key, scope in ((A, "s", 0), (A, "p", 1), (A, "q", 1), (B, "r", 1), (C, "t", 1)):
        assert exact(do("set", bearer, **pair(key, "v"), access_scope=scope)) == {"result": 0}
    place = exact(do("shared-list-get", B, page_size=1))["next_search_id"]
    before = rows()
    random = Random(7)
    odd = [
        *("p", "a1/p", "%", "\x1f", "\0", "\ud800", "\u202e", "=", "====", "0", "-1", "'", '"', "p" * 100_000),
        *(place + "=", place[:-1], place.lower(), place.upper(), place + place, f" {place}", f"{place}\n"),
        *(urlsafe_b64encode(key).decode() for key in (b"\0", b"p\0", b"\xff", b"\x1f", b"s", b"zz", b"\xed\xa0\x80")),
        *("".join(random.choices("ABCDabcd0123=-_+/", k=random.randrange(1, 12))) for _ in range(50)),
    ]

    for search_id in odd:
        answer = exact(do("shared-list-get", B, search_id=search_id))

        assert answer["result"] in (0, -5), search_id
        assert answer["keys_shared"] in ([], ["a1/q"], ["a1/p", "a1/q"]), search_id
        assert answer["next_search_id"] == "", search_id
    assert exact(do("shared-list-get", B, search_id="?")) == {"result": -5} | EMPTY_PAGE
    assert rows() == before


def test_a_place_of_one_app_serves_another(do: Do) -> None:
    for bearer, key in ((A, "p"), (A, "q"), (B, "r")):
        assert exact(do("set", bearer, **pair(key, "v"))) == {"result": 0}
    place = exact(do("shared-list-get", B, page_size=1))["next_search_id"]

    third = exact(do("shared-list-get", a(azp="a3"), search_id=place))

    assert third == {"result": 0, "keys_shared": ["a1/q", "a2/r"], "next_search_id": ""}


@pytest.mark.parametrize(
    "providers", [["Telegram"], [""], ["-x"], ["_x"], ["t" * 65], ["tele gram"], ["ok", "n\u00f6"]]
)
def test_a_bad_name_of_a_provider_stops_the_start_with_one_sentence(settings: Any, providers: list[str]) -> None:
    from hypersecureid.asgi import Application

    settings.JWT_IDENTITY_PROVIDERS = providers

    with pytest.raises(ImproperlyConfigured) as raised:
        Application()
    assert str(raised.value).startswith("JWT_IDENTITY_PROVIDERS")
    assert "\n" not in str(raised.value)


@pytest.fixture
def offered(running: Running) -> Iterator[str]:
    """An identity provider with the longest name that there can be."""
    name = "p" * 64
    with override_settings(JWT_IDENTITY_PROVIDERS=[name]):
        running.restart()
        yield name
    running.restart()


def test_every_part_of_a_row_may_be_as_long_as_its_limit(offered: str, ask: Ask, stored: Stored) -> None:
    random = Random(7)
    sub, azp, account, wallet = ("".join(random.choices("abcdefghijABCDEFGHIJ0123456789", k=255)) for _ in range(4))
    key = "".join(chr(random.randrange(0x10000, 0x10FFFF)) for _ in range(128))
    email = "".join(random.choices("abcdefghij0123456789", k=242)) + "@example.com"
    provider = {"identity_provider": offered}
    bearer = a(sub=sub, azp=azp, email=email, wallet_address=wallet, **{f"{offered}_user_id": account})

    for below, field in {**STORAGES, "/user-data/by-idp/": provider}.items():
        assert exact(ask(below + "set", {**field, **pair(key, "v")}, bearer)) == {"result": 0}, below
        read = exact(ask(below + "get", {**field, "value_keys": [key]}, bearer))
        assert read == {"result": 0, "values": [pair(key, "v")]}, below
    other = a(sub=sub, email=email, wallet_address=wallet, **{f"{offered}_user_id": account})
    listed = exact(ask("/user-data/by-idp/shared-list-get", provider, other))
    assert listed == {"result": 0, "keys_shared": [f"{azp}/{key}"], "next_search_id": ""}
    named = exact(ask("/user-data/by-idp/get", {**provider, "value_keys": [f"{azp}/{key}"]}, other))
    assert named == {"result": 0, "values": [pair(f"{azp}/{key}", "v")]}
    assert stored.count() == 4


def test_the_limits_of_reads_and_deletes_are_settings(ask: Ask, stored: Stored, settings: Any) -> None:
    settings.MAX_KEYS_PER_REQUEST, settings.MAX_VALUES_BYTES = 2, 3
    for key, value in (("k", "four"), ("l", "12"), ("m", "1")):
        assert exact(ask(BY_USER_ID + "set", pair(key, value))) == {"result": 0}

    def get(*keys: str) -> int:
        result: int = exact(ask(BY_USER_ID + "get", {"value_keys": keys}))["result"]
        return result

    assert [get("k", "l", "m"), get("k", "l"), get("k", "no"), get("l", "m"), get("k")] == [-6, -6, 0, 0, 0]
    assert exact(ask(BY_USER_ID + "delete", {"value_keys": ["k", "l", "m"]}))["result"] == -5
    assert stored.count() == 3


def test_an_answer_says_its_members_in_the_documents_order(ask: Ask) -> None:
    assert exact(ask(BY_USER_ID + "set", pair("\u00e9", "\u202e\U0001f511"))) == {"result": 0}

    response = ask(BY_USER_ID + "get", {"request_id": 7, "value_keys": ["\u00e9"]})

    assert list(json.loads(response.content)) == ["request_id", "result", "values"]
    assert "\u202e\U0001f511" in response.content.decode()
