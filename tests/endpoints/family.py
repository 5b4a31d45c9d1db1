"""The 22 endpoints and the callers of the acceptance cases, written down as the API document has them."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.tokens import token

W = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01"
W2 = "0x1234567890123456789012345678901234567890"
NOW = int(time.time())
CALLER: dict[str, Any] = {
    "sub": "u1",
    "azp": "a1",
    "scope": "email user-data-set user-data-get",
    "email": "u1@example.com",
    "email_verified": True,
    "wallet_address": W,
    "is_wallet_verified": True,
    "telegram_user_id": "77",
    "exp": NOW + 3600,
}
OTHER_USER: dict[str, Any] = {"sub": "u2", "email": "u2@example.com", "wallet_address": W2, "telegram_user_id": "88"}


def a(**changes: Any) -> str:
    """The token A, good but for the changes."""
    return token(**(CALLER | changes))


A = a()
B = a(azp="a2")
C = a(**OTHER_USER)

K101 = [f"k{n}" for n in range(101)]


class Endpoint(NamedTuple):
    """A path with its smallest valid body, the fields of an answer in which there is nothing, and what it wants."""

    path: str
    body: Mapping[str, Any]
    empty: Mapping[str, Any]
    scope: str

    @property
    def action(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def below(self) -> str:
        """The storage's part of the path."""
        return self.path.rpartition("/")[0] + "/"

    @property
    def is_read(self) -> bool:
        return self.scope == "user-data-get"

    @property
    def is_basic(self) -> bool:
        return self.below == "/user-data/"


STORAGES: Mapping[str, Mapping[str, Any]] = {
    "/user-data/": {},
    "/user-data/by-user-id/": {},
    "/user-data/by-email/": {},
    "/user-data/by-idp/": {"identity_provider": "telegram"},
    "/user-data/by-wallet/": {},
}
ACTIONS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "set": ({"value_key": "k", "value_data": "v"}, {}, "user-data-set"),
    "get": ({"value_keys": ["k"]}, {"values": []}, "user-data-get"),
    "list-get": ({}, {"keys_private": [], "keys_public": []}, "user-data-get"),
    "shared-list-get": ({}, {"keys_shared": [], "next_search_id": ""}, "user-data-get"),
    "delete": ({"value_keys": ["k"]}, {"keys_delete_results": []}, "user-data-set"),
}
ENDPOINTS = [
    Endpoint(below + action, {**field, **body}, empty, scope)
    for below, field in STORAGES.items()
    for action, (body, empty, scope) in ACTIONS.items()
    if action in ("set", "get") or below != "/user-data/"
]
assert len(ENDPOINTS) == 22

# The result of an action that finds nothing, in a table that is empty.
NOTHING = {"set": 0, "get": 1, "list-get": 1, "shared-list-get": 1, "delete": 1}


def smallest(endpoint: Endpoint) -> dict[str, Any]:
    """The answer to the smallest valid body over an empty table."""
    if endpoint.action == "delete":
        return {"result": 1, "keys_delete_results": [{"value_key": "k", "is_deleted": False}]}
    return {"result": 0 if endpoint.is_basic else NOTHING[endpoint.action], **endpoint.empty}
