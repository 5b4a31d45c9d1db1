"""What each endpoint answers to each kind of request: found out by asking, not read off the code's tables."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from tests.application import Response
from tests.endpoints.family import ENDPOINTS, K101, NOW, W2, A, Endpoint, a

Ask: TypeAlias = Callable[[str, Any, str], Response]
Answers: TypeAlias = Mapping[tuple[str, str], dict[str, Any]]
"""The body of an answer, by path and by the documented name of what was provoked."""

FOREIGN_APP = a(azp="another")


def answers(ask: Ask, empty: Callable[[], object], lose_keys: Callable[[], None]) -> Answers:
    """Every documented outcome of every endpoint. `empty` empties the table, `lose_keys` leaves no key for tokens."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        for name, body, token in _cases(endpoint):
            empty()
            for path, fields, owner in _before(endpoint, name):
                assert ask(path, fields, owner).json()["result"] == 0
            found[endpoint.path, name] = ask(endpoint.path, body, token).json()
    lose_keys()
    for endpoint in ENDPOINTS:
        answer = ask(endpoint.path, endpoint.body, A)
        found[endpoint.path, "fail by service temporary not valid"] = answer.json()
    return found


def _cases(endpoint: Endpoint) -> Iterator[tuple[str, Any, str]]:
    """Name of the outcome, body, token."""
    body = dict(endpoint.body)
    yield "success", body, A
    if endpoint.action != "set" and not endpoint.is_basic:
        yield "success not found", body, A
    yield "fail by token invalid", body, "no-token"
    yield "fail by token expired", body, a(exp=NOW - 3600)
    yield "fail by access denied", body, a(scope="email")
    yield "fail by invalid parameters", [], A
    if endpoint.action == "set":
        yield "fail by key access denied", body, FOREIGN_APP
        yield "fail by key invalid", body | {"value_key": ""}, A
    if endpoint.action == "get":
        yield "fail by keys size limit reached", body | {"value_keys": K101}, A
    if "by-idp" in endpoint.path:
        yield "fail by identity provider not found", body | {"identity_provider": "nowhere"}, A
    if "by-wallet" in endpoint.path:
        yield "fail by wallet not exists", body | {"wallet_address": W2}, A


def _before(endpoint: Endpoint, name: str) -> Iterator[tuple[str, Any, str]]:
    """What has to be stored before: path, body, token."""
    if name == "fail by key access denied" or (name == "success" and endpoint.action != "set"):
        [store] = [each for each in ENDPOINTS if each.below == endpoint.below and each.action == "set"]
        yield store.path, store.body, FOREIGN_APP if endpoint.action == "shared-list-get" else A
