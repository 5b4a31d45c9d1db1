"""Storage by identity provider: acceptance cases 49 to 55."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.endpoints.conftest import Ask, Play, Rows, Stored, exact
from tests.endpoints.family import ENDPOINTS, K101, A, B, C, Endpoint, a
from tests.tokens import ABSENT

BELOW = "/user-data/by-idp/"
FIVE = [endpoint for endpoint in ENDPOINTS if endpoint.below == BELOW]
TELEGRAM: dict[str, Any] = {"identity_provider": "telegram"}
K = TELEGRAM | {"value_keys": ["k"]}
SET = TELEGRAM | {"value_key": "k", "value_data": "t"}
T = {"result": 0, "values": [{"value_key": "k", "value_data": "t"}]}
NOTHING = {"result": 1, "values": []}
UNKNOWN = "identity_provider names no account of this user."


def test_values_are_kept_by_user_and_account(play: Play, stored: Stored) -> None:
    play(
        BELOW,
        [
            (49, A, "set", SET, {"result": 0}),
            (49, A, "get", K, T),
            (49, A, "list-get", TELEGRAM, {"result": 0, "keys_private": [], "keys_public": ["k"]}),
            (49, B, "shared-list-get", TELEGRAM, {"result": 0, "keys_shared": ["a1/k"], "next_search_id": ""}),
            (51, A, "get", {"identity_providers": ["telegram"], "value_keys": ["k"]}, T),
            (53, B, "set", SET | {"value_data": "b"}, {"result": -7}),
            (53, A, "set", SET | {"value_key": ""}, {"result": -8}),
            (53, A, "get", TELEGRAM | {"value_keys": K101}, {"result": -7, "values": []}),
            (53, A, "delete", TELEGRAM | {"value_keys": K101}, {"result": -5, "keys_delete_results": []}),
            (54, C, "get", K, NOTHING),
            (54, a(telegram_user_id="99"), "get", K, NOTHING),
            (54, a(telegram_user_id=77), "get", K, T),
            (54, a(sub="u1x"), "get", K, NOTHING),
        ],
    )
    assert stored.values_list("owner_kind", "owner_id", "value", "app", "access_scope").get() == (
        "idp",
        "u1\x1ftelegram\x1f77",
        "t",
        "a1",
        1,
    )
    play(
        BELOW,
        [
            (55, A, "delete", K, {"result": 0, "keys_delete_results": [{"value_key": "k", "is_deleted": True}]}),
            (55, A, "delete", K, {"result": 1, "keys_delete_results": [{"value_key": "k", "is_deleted": False}]}),
            (55, A, "get", K, NOTHING),
            (55, A, "list-get", TELEGRAM, {"result": 1, "keys_private": [], "keys_public": []}),
            (55, B, "shared-list-get", TELEGRAM, {"result": 1, "keys_shared": [], "next_search_id": ""}),
        ],
    )
    assert not stored.exists()


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
def test_unknown_not_offered_and_not_linked_are_not_to_be_told_apart(
    ask: Ask, rows: Callable[[], Rows], five: Endpoint
) -> None:  # case 50
    assert exact(ask(BELOW + "set", SET)) == {"result": 0}
    before = rows()
    named: list[dict[str, Any]] = [{"identity_provider": None, "identity_providers": ["google"]}]
    named += [{"identity_provider": name} for name in ("google", "nowhere", "Telegram", "", "telegram ", "\ud800")]
    later_faults: list[dict[str, Any]] = [{}, {"value_key": "", "value_data": "v"}, {"value_keys": K101}]

    responses = [ask(five.path, {**five.body, **provider, **more}) for provider in named for more in later_faults]

    assert {response.content for response in responses} == {responses[0].content}
    assert exact(responses[0]) == {"result": -6, **five.empty}
    assert {response["X-Result-Detail"] for response in responses} == {UNKNOWN}
    assert rows() == before


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
@pytest.mark.parametrize(
    ("provider", "detail"),
    [
        ({"identity_providers": []}, "identity_providers must be an array of one string."),
        ({"identity_providers": ["telegram", "google"]}, "identity_providers must be an array of one string."),
        ({"identity_providers": ["telegram", "telegram"]}, "identity_providers must be an array of one string."),
        ({"identity_providers": [7]}, "identity_providers must be an array of one string."),
        ({"identity_providers": "telegram"}, "identity_providers must be an array of one string."),
        ({"identity_providers": {"telegram": 1}}, "identity_providers must be an array of one string."),
        ({"identity_provider": 7}, "identity_provider must be a string."),
        ({"identity_provider": ["telegram"]}, "identity_provider must be a string."),
        ({"identity_provider": 7, "identity_providers": ["telegram"]}, "identity_provider must be a string."),
        ({}, "identity_provider is required."),
        ({"identity_provider": None}, "identity_provider is required."),
        ({"identity_provider": None, "identity_providers": None}, "identity_provider is required."),
    ],
    ids=repr,
)
def test_a_provider_that_is_not_named_as_it_should_be_is_refused(
    ask: Ask, rows: Callable[[], Rows], five: Endpoint, provider: dict[str, Any], detail: str
) -> None:  # case 52
    assert exact(ask(BELOW + "set", SET)) == {"result": 0}
    before = rows()
    rest = {name: value for name, value in five.body.items() if name != "identity_provider"}

    response = ask(five.path, rest | provider)

    assert exact(response) == {"result": -5, **five.empty}
    assert response["X-Result-Detail"] == detail
    assert rows() == before


@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
@pytest.mark.parametrize(
    "provider",
    [
        pytest.param({"identity_providers": ["telegram"]}, id="array"),
        pytest.param({"identity_provider": None, "identity_providers": ["telegram"]}, id="array and null"),
        pytest.param({"identity_provider": "telegram", "identity_providers": [7]}, id="the string goes first"),
        pytest.param({"identity_provider": "telegram", "identity_providers": ["google"]}, id="not the array"),
    ],
)
def test_both_names_of_the_field_are_understood(ask: Ask, five: Endpoint, provider: dict[str, Any]) -> None:  # case 51
    assert exact(ask(BELOW + "set", SET, A)) == {"result": 0}
    rest = {name: value for name, value in five.body.items() if name != "identity_provider"}

    assert exact(ask(five.path, rest | provider, B if five.action == "shared-list-get" else A))["result"] == 0


@pytest.mark.parametrize(
    "account",
    [
        *(ABSENT, None, "", True, 7.0, 7.5, ["77"], {"id": "77"}),
        *("7" * 256, "\u00e9" * 128, 10**255, "7\x1f7", "7\n", "\ud800", "\x7f"),
    ],
    ids=lambda value: f"{value!r:.20}",
)
@pytest.mark.parametrize("five", FIVE, ids=lambda endpoint: endpoint.action)
def test_a_claim_that_is_no_account_id_proves_nothing(ask: Ask, stored: Stored, five: Endpoint, account: Any) -> None:
    response = ask(five.path, five.body, a(telegram_user_id=account))

    assert exact(response) == {"result": -6, **five.empty}
    assert response["X-Result-Detail"] == UNKNOWN
    assert not stored.exists()


@pytest.mark.parametrize(
    ("account", "stored_as"),
    [(77, "77"), (0, "0"), (-7, "-7"), (2**64, "18446744073709551616"), ("7" * 255, "7" * 255), (" 7", " 7")],
    ids=lambda value: f"{value!r:.20}",
)
def test_an_account_id_is_a_string_or_an_integer_in_digits(
    ask: Ask, stored: Stored, account: Any, stored_as: str
) -> None:
    assert exact(ask(BELOW + "set", SET, a(telegram_user_id=account))) == {"result": 0}
    assert stored.get().owner_id == f"u1\x1ftelegram\x1f{stored_as}"
    assert exact(ask(BELOW + "get", K, a(telegram_user_id=stored_as))) == T


def test_accounts_of_two_providers_are_two_storages(ask: Ask, stored: Stored) -> None:
    both = a(google_user_id="77")

    assert exact(ask(BELOW + "set", SET, both)) == {"result": 0}
    assert exact(ask(BELOW + "get", K | {"identity_provider": "google"}, both)) == NOTHING
    assert exact(ask(BELOW + "set", SET | {"identity_provider": "google"}, both)) == {"result": 0}
    assert stored.count() == 2
