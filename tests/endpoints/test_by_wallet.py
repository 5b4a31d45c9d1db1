"""Storage by wallet: acceptance cases 56 to 60."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.endpoints.conftest import Ask, Play, Rows, Stored, exact
from tests.endpoints.family import ENDPOINTS, K101, W2, A, B, C, Endpoint, W, a
from tests.tokens import ABSENT

BELOW = "/user-data/by-wallet/"
FIVE = [endpoint for endpoint in ENDPOINTS if endpoint.below == BELOW]
K: dict[str, Any] = {"value_keys": ["k"]}
SET = {"value_key": "k", "value_data": "w"}
V = {"result": 0, "values": [{"value_key": "k", "value_data": "w"}]}
NOTHING = {"result": 1, "values": []}
UNKNOWN = "wallet_address names no wallet of this user."


def test_values_are_kept_by_user_and_wallet(play: Play, stored: Stored) -> None:
    play(
        BELOW,
        [
            (56, A, "set", {"wallet_address": "0xabcdef0123456789abcdef0123456789abcdef01"} | SET, {"result": 0}),
            (56, A, "get", K, V),
            *((56, A, "get", K | {"wallet_address": wallet}, V) for wallet in (W, "", None)),
            (56, C, "get", K, NOTHING),
            (58, B, "set", SET | {"value_data": "b"}, {"result": -7}),
            (58, A, "set", SET | {"value_key": ""}, {"result": -8}),
            (58, A, "get", {"value_keys": K101}, {"result": -7, "values": []}),
            (58, A, "get", K | {"wallet_address": 7}, {"result": -5, "values": []}),
            (58, A, "delete", {"value_keys": K101}, {"result": -5, "keys_delete_results": []}),
            (59, A, "delete", K | {"identity_provider": "telegram"}, {"result": -5, "keys_delete_results": []}),
            (59, A, "get", K, V),
        ],
    )
    assert stored.values_list("owner_kind", "owner_id", "value", "app", "access_scope").get() == (
        "wallet",
        "u1\x1f0xabcdef0123456789abcdef0123456789abcdef01",
        "w",
        "a1",
        1,
    )
    play(
        BELOW,
        [
            (60, A, "list-get", None, {"result": 0, "keys_private": [], "keys_public": ["k"]}),
            (60, B, "shared-list-get", {}, {"result": 0, "keys_shared": ["a1/k"], "next_search_id": ""}),
            (60, A, "delete", K, {"result": 0, "keys_delete_results": [{"value_key": "k", "is_deleted": True}]}),
            (60, A, "delete", K, {"result": 1, "keys_delete_results": [{"value_key": "k", "is_deleted": False}]}),
            (60, A, "get", K, NOTHING),
            (60, A, "list-get", None, {"result": 1, "keys_private": [], "keys_public": []}),
            (60, B, "shared-list-get", {}, {"result": 1, "keys_shared": [], "next_search_id": ""}),
        ],
    )
    assert not stored.exists()


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
def test_no_wallet_anothers_and_an_unproven_one_are_not_to_be_told_apart(
    ask: Ask, rows: Callable[[], Rows], five: Endpoint
) -> None:  # case 57
    assert exact(ask(BELOW + "set", SET, A)) == {"result": 0}
    assert exact(ask(BELOW + "set", SET, C)) == {"result": 0}
    before = rows()
    asked = [
        *((A, {"wallet_address": wallet}) for wallet in (W2, "x", f" {W}", f"{W}\0", "\ud800", "0X" + W[2:])),
        *((a(wallet_address=wallet), {}) for wallet in (ABSENT, None, "", 7, [W], "w" * 256, "\u00e9" * 128)),
        *((a(wallet_address=wallet), {}) for wallet in ("w\x1fw", "w\n", "w\x85", "\udfff")),
        *((a(is_wallet_verified=proven), {}) for proven in (False, None, "true", 1, 0, "", [True])),
        (a(is_wallet_verified=False), {"wallet_address": W}),
        (a(wallet_address=ABSENT), {"wallet_address": W}),
    ]

    responses = [
        ask(five.path, {**five.body, **body, **more}, bearer)
        for bearer, body in asked
        for more in ({}, {"value_key": ""}, {"value_keys": K101})
    ]

    assert {response.content for response in responses} == {responses[0].content}
    assert exact(responses[0]) == {"result": -6, **five.empty}
    assert {response["X-Result-Detail"] for response in responses} == {UNKNOWN}
    assert rows() == before


def test_a_wallet_of_which_no_proof_is_told_counts(ask: Ask, stored: Stored) -> None:
    assert exact(ask(BELOW + "set", SET, a(is_wallet_verified=ABSENT))) == {"result": 0}
    assert exact(ask(BELOW + "get", K, A)) == V


@pytest.mark.parametrize(
    ("wallet", "other"),
    [
        pytest.param("0X" + W[2:], W, id="0X is another address than 0x"),
        pytest.param(W + "0", W.lower() + "0", id="41 digits are taken exactly"),
        pytest.param(W[:-1], W[:-1].lower(), id="39 digits are taken exactly"),
        pytest.param(W[:-1] + "G", W[:-1].lower() + "g", id="letters beyond F are taken exactly"),
        pytest.param(
            "7v91N7iZ9mNicL8WfG6cgSCKyRXydQjLh6UYBWwm6y1Q", "7v91n7iz9mnicl8wfg6cgsckyrxydqjlh6uybwwm6y1q", id="58"
        ),
    ],
)
def test_an_address_of_another_form_is_taken_exactly(ask: Ask, stored: Stored, wallet: str, other: str) -> None:
    bearer = a(wallet_address=wallet)

    assert exact(ask(BELOW + "set", SET | {"wallet_address": wallet}, bearer)) == {"result": 0}
    assert stored.get().owner_id == f"u1\x1f{wallet}"
    assert exact(ask(BELOW + "get", K | {"wallet_address": other}, bearer)) == {"result": -6, "values": []}
    assert exact(ask(BELOW + "get", K, a(wallet_address=other))) == NOTHING


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
@pytest.mark.parametrize("name", ["identity_provider", "identity_providers"])
@pytest.mark.parametrize("value", ["telegram", ["telegram"], "", 7, []], ids=repr)
def test_what_is_meant_for_a_provider_is_refused_unless_a_wallet_is_named(
    ask: Ask, rows: Callable[[], Rows], five: Endpoint, name: str, value: Any
) -> None:  # case 59
    assert exact(ask(BELOW + "set", SET, A)) == {"result": 0}
    before = rows()

    for wallet in ({}, {"wallet_address": None}, {"wallet_address": ""}):
        response = ask(five.path, {**five.body, **wallet, name: value})

        assert exact(response) == {"result": -5, **five.empty}
        assert response["X-Result-Detail"] == f"{name} belongs to the paths by-idp."
    assert rows() == before

    bearer = B if five.action == "shared-list-get" else A
    assert exact(ask(five.path, {**five.body, "wallet_address": W, name: value}, bearer))["result"] == 0


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
def test_null_in_the_field_of_a_provider_is_absent(ask: Ask, five: Endpoint) -> None:
    assert exact(ask(BELOW + "set", SET, A)) == {"result": 0}
    nobody = {"identity_provider": None, "identity_providers": None}

    assert exact(ask(five.path, {**five.body, **nobody}, B if five.action == "shared-list-get" else A))["result"] == 0
