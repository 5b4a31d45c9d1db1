"""Shared lists, page by page, in each of the four storages that have them: acceptance cases 37 to 41."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from tests.endpoints.conftest import Ask, Rows, Stored, exact
from tests.endpoints.family import STORAGES, A, B, a
from userdata.models import StoredValue

OWNERS = {
    "/user-data/by-user-id/": ("user", "u1"),
    "/user-data/by-email/": ("email", "u1\x1fu1@example.com"),
    "/user-data/by-idp/": ("idp", "u1\x1ftelegram\x1f77"),
    "/user-data/by-wallet/": ("wallet", "u1\x1f0xabcdef0123456789abcdef0123456789abcdef01"),
}
EMPTY_PAGE = {"keys_shared": [], "next_search_id": ""}

List = Callable[..., Any]


@pytest.fixture(params=OWNERS)
def below(request: pytest.FixtureRequest) -> str:
    path: str = request.param
    return path


@pytest.fixture
def share(ask: Ask, below: str) -> Callable[[Iterable[str]], None]:
    """A sets public keys."""

    def share(keys: Iterable[str]) -> None:
        for key in keys:
            body = {**STORAGES[below], "value_key": key, "value_data": "v", "access_scope": 1}
            assert exact(ask(below + "set", body, A)) == {"result": 0}

    return share


@pytest.fixture
def page(ask: Ask, below: str) -> List:
    """B asks for a page."""
    return lambda **body: exact(ask(below + "shared-list-get", {**STORAGES[below], **body}, B))


def names(first: int, end: int) -> list[str]:
    return [f"a1/p{n:03}" for n in range(first, end)]


@pytest.fixture
def k250(stored: Stored, below: str) -> None:
    """A has the public keys p000 to p249."""
    kind, id_ = OWNERS[below]
    stored.bulk_create(
        StoredValue(owner_kind=kind, owner_id=id_, key=f"p{n:03}", value="v", app="a1", access_scope=1)
        for n in range(250)
    )


@pytest.mark.usefixtures("k250")
def test_pages_hold_all_keys_in_order_each_once(page: List) -> None:  # case 37
    first = page(page_size=100)
    second = page(page_size=100, search_id=first["next_search_id"])
    third = page(page_size=100, search_id=second["next_search_id"])

    assert first == {"result": 0, "keys_shared": names(0, 100), "next_search_id": first["next_search_id"]}
    assert second == {"result": 0, "keys_shared": names(100, 200), "next_search_id": second["next_search_id"]}
    assert third == {"result": 0, "keys_shared": names(200, 250), "next_search_id": ""}
    assert first["next_search_id"]
    assert second["next_search_id"]


def test_a_full_page_has_a_next_one_and_that_may_be_empty(
    page: List, share: Callable[[Iterable[str]], None]
) -> None:  # case 38
    share(f"p{n:03}" for n in range(100))

    full = page(search_id="", page_size=100)
    after = page(search_id=full["next_search_id"], page_size=100)

    assert (full["result"], full["keys_shared"]) == (0, names(0, 100))
    assert full["next_search_id"]
    assert after == {"result": 0, "keys_shared": [], "next_search_id": ""}


@pytest.mark.usefixtures("k250")
@pytest.mark.parametrize(
    ("body", "length"),
    [
        ({}, 100),
        ({"page_size": 0}, 100),
        ({"page_size": None}, 100),
        ({"page_size": 1000}, 250),
        ({"page_size": 250}, 250),
        ({"page_size": 1}, 1),
    ],
)
def test_a_page_has_the_size_that_was_asked_for(page: List, body: Mapping[str, Any], length: int) -> None:  # case 39
    answer = page(**body)

    assert (answer["result"], answer["keys_shared"]) == (0, names(0, length))
    assert bool(answer["next_search_id"]) == (length < 250 or body["page_size"] == 250)


NO_SIZES: list[Any] = [1001, -1, 4294967296, "100", 1.5, 100.0, True, []]
NO_PLACES: list[Any] = ["?", 7, ["p"], False, {}]


@pytest.mark.parametrize(
    "body",
    [*({"page_size": size} for size in NO_SIZES), *({"search_id": place} for place in NO_PLACES)],
    ids=repr,
)
def test_another_page_size_or_place_is_refused(
    page: List, share: Callable[[Iterable[str]], None], rows: Callable[[], Rows], body: Mapping[str, Any]
) -> None:  # case 40
    share(["p"])
    before = rows()

    assert page(**body) == {"result": -5} | EMPTY_PAGE
    assert rows() == before


@pytest.mark.usefixtures("k250")
def test_the_next_page_goes_on_where_the_last_one_ended_though_keys_come_and_go(
    ask: Ask, page: List, share: Callable[[Iterable[str]], None], below: str
) -> None:  # case 41
    first = page(page_size=100)
    gone = ask(below + "delete", {**STORAGES[below], "value_keys": ["p000", "p099"]}, A)
    assert exact(gone)["result"] == 0
    share(["p100x"])

    second = page(page_size=100, search_id=first["next_search_id"])

    assert (second["result"], second["keys_shared"]) == (0, ["a1/p100", "a1/p100x", *names(101, 199)])


def test_the_keys_of_all_other_apps_are_listed_by_key_and_named_by_app(ask: Ask, page: List, below: str) -> None:
    odd = {"a3": "k2", "a/b": "k1", "50%": "k3", "%2F": "k0", "a4": "private"}
    for app, key in odd.items():
        body = {**STORAGES[below], "value_key": key, "value_data": app, "access_scope": int(key != "private")}
        assert exact(ask(below + "set", body, a(azp=app))) == {"result": 0}
    listed = ["%252F/k0", "a%2Fb/k1", "a3/k2", "50%25/k3"]

    assert page() == {"result": 0, "keys_shared": listed, "next_search_id": ""}
    answer = exact(ask(below + "get", {**STORAGES[below], "value_keys": listed}, B))
    read = [
        {"value_key": name, "value_data": app} for name, app in zip(listed, ("%2F", "a/b", "a3", "50%"), strict=True)
    ]
    assert answer == {"result": 0, "values": read}
