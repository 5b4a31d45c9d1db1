"""Storage by email: acceptance cases 42 to 48."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.endpoints.conftest import Ask, Play, Rows, Stored, exact
from tests.endpoints.family import ENDPOINTS, K101, OTHER_USER, A, B, C, Endpoint, a
from tests.tokens import ABSENT

BELOW = "/user-data/by-email/"
FIVE = [endpoint for endpoint in ENDPOINTS if endpoint.below == BELOW]
K: dict[str, Any] = {"value_keys": ["k"]}
SET = {"value_key": "k", "value_data": "e"}
E = {"result": 0, "values": [{"value_key": "k", "value_data": "e"}]}
NOTHING = {"result": 1, "values": []}
NO_KEYS = {"result": 1, "keys_private": [], "keys_public": []}
NOT_DELETED = {"result": 1, "keys_delete_results": [{"value_key": "k", "is_deleted": False}]}


def test_values_are_kept_by_user_and_verified_email(play: Play, stored: Stored) -> None:
    capitals = a(email="U1@Example.COM")
    same_address = a(**(OTHER_USER | {"email": "u1@example.com"}))
    moved = a(email="new@example.com")
    play(
        BELOW,
        [
            (42, A, "set", SET, {"result": 0}),
            (42, A, "/user-data/by-user-id/get", K, NOTHING),
            (42, A, "get", K, E),
            (44, capitals, "get", K, E),
            (45, same_address, "get", K, NOTHING),
            (45, same_address, "list-get", {}, NO_KEYS),
            (45, same_address, "shared-list-get", {}, {"result": 1, "keys_shared": [], "next_search_id": ""}),
            (45, same_address, "delete", K, NOT_DELETED),
            (45, C, "get", K, NOTHING),
            (45, A, "get", K, E),
            (46, moved, "get", K, NOTHING),
            (46, A, "get", K, E),
            (47, B, "set", {"value_key": "k", "value_data": "b"}, {"result": -6}),
            (47, A, "set", {"value_key": "", "value_data": "v"}, {"result": -7}),
            (47, A, "get", {"value_keys": K101}, {"result": -6, "values": []}),
        ],
    )
    assert stored.values_list("owner_kind", "owner_id", "value", "app", "access_scope").get() == (
        "email",
        "u1\x1fu1@example.com",
        "e",
        "a1",
        1,
    )
    play(
        BELOW,
        [
            (48, A, "list-get", {}, {"result": 0, "keys_private": [], "keys_public": ["k"]}),
            (48, B, "shared-list-get", {}, {"result": 0, "keys_shared": ["a1/k"], "next_search_id": ""}),
            (48, A, "delete", K, {"result": 0, "keys_delete_results": [{"value_key": "k", "is_deleted": True}]}),
            (48, A, "delete", K, NOT_DELETED),
        ],
    )
    assert not stored.exists()


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"email_verified": False}, id="not verified"),
        pytest.param({"email_verified": ABSENT}, id="nothing said of it"),
        pytest.param({"email_verified": "yes"}, id="said in a string"),
        pytest.param({"email_verified": "true"}, id="true in a string"),
        pytest.param({"email_verified": 1}, id="said by a number"),
        pytest.param({"email": ABSENT}, id="no email"),
        pytest.param({"email": None}, id="null"),
        pytest.param({"email": ["u1@example.com"]}, id="an array"),
        pytest.param({"email": "u1"}, id="no @"),
        pytest.param({"email": "u1@x@example.com"}, id="two @"),
        pytest.param({"email": "u" * 243 + "@example.com"}, id="255 bytes"),
        pytest.param({"email": "u1\x1f@example.com"}, id="control character"),
        pytest.param({"email": "u1\ud800@example.com"}, id="lone surrogate"),
    ],
)
def test_without_a_verified_email_access_is_denied_whatever_the_request_says(
    ask: Ask, rows: Callable[[], Rows], five: Endpoint, changes: dict[str, Any]
) -> None:  # case 43
    assert exact(ask(BELOW + "set", SET)) == {"result": 0}
    before = rows()

    for body in (five.body, {"value_keys": 7}, {"value_key": "", "value_data": "v"}, b"{"):
        response = ask(five.path, body, a(**changes))

        assert exact(response) == {"result": -3, **five.empty}
        assert response["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="email {five.scope}"'
        assert response["X-Result-Detail"] == "The token names no verified email."
    assert rows() == before


def test_an_email_of_254_bytes_counts_and_only_ascii_letters_are_lowered(ask: Ask, stored: Stored) -> None:
    long = "\u00c4" + "U" * 240 + "@example.com"
    assert len(long.encode()) == 254

    assert exact(ask(BELOW + "set", SET, a(email=long))) == {"result": 0}
    assert stored.get().owner_id == "u1\x1f\u00c4" + "u" * 240 + "@example.com"
    assert exact(ask(BELOW + "get", K, a(email=long.replace("\u00c4", "\u00e4")))) == NOTHING
