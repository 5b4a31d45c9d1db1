"""Random sequences of all actions, by three apps of two users over all storages: each answer is the model's.

`MODEL_STEPS` says how many steps, and `MODEL_SEED` repeats those of a run.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random, randrange
from typing import Any, NamedTuple

import pytest

from tests.application import Response
from tests.endpoints import model
from tests.endpoints.conftest import Stored, exact
from tests.endpoints.family import W2, W, a
from tests.endpoints.model import Caller, Model, Place

STEPS = int(os.environ.get("MODEL_STEPS", "2000"))
SEED = int(os.environ.get("MODEL_SEED", str(randrange(2**32))))
LOOK_EVERY = 250  # steps, into the table

PREFIXES = {
    "basic": "/user-data/",
    "by-user-id": "/user-data/by-user-id/",
    "by-email": "/user-data/by-email/",
    "by-idp": "/user-data/by-idp/",
    "by-wallet": "/user-data/by-wallet/",
}
ACTIONS = ["set", "get", "list-get", "shared-list-get", "delete"]
APPS = ["a1", "a2", "a/3%"]
KEYS = ["k", "K", "a/b", "\u05d0\u202e", "\u00e9", "e\u0301", "\U0001f511" * 128, "\U0001f511", "%2F", "a1/k", "/", " "]
NO_KEYS = ["", "k" * 129, "a\x07", "\x7f", "\x9f", "\ud83d", "a\udc00", "\0"]
VALUES = ["", "v", "twelve bytes", "\u20ac\u20ac\u20ac\u20ac", "\x01\n", "null"]
NO_VALUES: list[Any] = ["thirteen bytes", "\u20ac" * 5, "a\0b", "\ud800", None, 7, ["v"]]


class Request(NamedTuple):
    caller: Caller | None
    bearer: str | None
    storage: str
    action: str
    body: Any

    @property
    def path(self) -> str:
        return PREFIXES[self.storage] + self.action


def callers() -> list[tuple[Caller, str]]:
    """Each user in each app, with one identity and with another, without any proof, and with scopes missing."""
    found = []
    both = frozenset({"email", "user-data-set", "user-data-get"})
    for sub in ("u1", "u2"):
        for app in APPS:
            claims: dict[str, Any] = {"sub": sub, "azp": app}
            for email, wallet, account in (("one@x.example", W, "77"), ("two@x.example", W2, "88")):
                proofs = {"email": email.upper().replace("TWO", "two"), "wallet_address": wallet, "google_user_id": 7}
                caller = Caller(sub, app, both, email, wallet.lower(), (("telegram", account), ("google", "7")))
                found.append((caller, a(telegram_user_id=account, **claims, **proofs)))
            unproven = {"email_verified": False, "is_wallet_verified": None, "telegram_user_id": ""}
            found.append((Caller(sub, app, both, None, None, ()), a(**claims, **unproven)))
    only_set = frozenset({"email", "user-data-set"})
    only_get = frozenset({"email", "user-data-get"})
    for scopes in (only_set, only_get):
        caller = Caller("u1", "a1", scopes, "u1@example.com", W.lower(), (("telegram", "77"),))
        found.append((caller, a(scope=" ".join(scopes))))
    return found


class Generator:
    """Makes requests, most of them good."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.callers = callers()
        # Most by those who can do something, and by one of their two identities.
        self.weights = [
            1 if caller.email is None or len(caller.scopes) < 3 else 12 if caller.email.startswith("one") else 4
            for caller, _ in self.callers
        ]

    def request(self, places: Sequence[str]) -> Request:
        storage = self.random.choice(list(PREFIXES))
        action = self.random.choice(ACTIONS[:2] if storage == "basic" else ACTIONS)
        caller: Caller | None
        bearer: str | None
        ((caller, bearer),) = self.random.choices(self.callers, self.weights)
        if self.rarely():
            caller = bearer = None
        body = self._identity(storage) | self._fields(action, places)
        if self.random.random() < 0.3:
            body["request_id"] = self.random.choice([0, -1, 2**63 - 1, -(2**63), None, 2**63, "7", 7.0, True])
        return Request(caller, bearer, storage, action, self.pick([body], [[], "a", None, 7, [body]]))

    def rarely(self) -> bool:
        return self.random.random() < 0.03

    def pick(self, good: Sequence[Any], bad: Sequence[Any]) -> Any:
        return self.random.choice(bad if self.rarely() else good)

    def _identity(self, storage: str) -> dict[str, Any]:
        named: dict[str, Any] = {"identity_provider": "telegram"}
        in_array: dict[str, Any] = {"identity_providers": ["telegram"], "identity_provider": None}
        if storage == "by-idp":
            bad = [{}, {"identity_provider": 7}, {"identity_providers": []}, {"identity_provider": "Telegram"}]
            found = self.pick([named, named, named, in_array, {"identity_provider": "google"}], bad)
        elif storage == "by-wallet":
            good = [{}, {}, {"wallet_address": W}, {"wallet_address": W.lower()}, {"wallet_address": ""}]
            found = self.pick([*good, {"wallet_address": None}, {"wallet_address": W2}], [{"wallet_address": 7}, named])
        else:
            found = self.pick([{}], [named, {"wallet_address": 7}])
        return dict(found)

    def _fields(self, action: str, places: Sequence[str]) -> dict[str, Any]:
        if action == "set":
            key, value = self.pick(KEYS, [*NO_KEYS, None, 7]), self.pick(VALUES, NO_VALUES)
            scope = self.pick(
                [{}, {"access_scope": 0}, {"access_scope": 1}, {"access_scope": None}], [{"access_scope": 2}]
            )
            return {"value_key": key, "value_data": value, **scope}
        if action in ("get", "delete"):
            return {"value_keys": self.pick([self._names(action)], [None, "k", {}, ["k", 7]])}
        if action == "list-get":
            return {}
        found = {"search_id": self.pick(["", None, *self.random.choices(places, k=4)] if places else [""], ["?", 7])}
        found["page_size"] = self.pick([0, 1, 2, 3, 5, 100, 1000, None], [1001, -1, "1", 1.0, True])
        return {name: value for name, value in found.items() if self.random.random() < 0.8}

    def _names(self, action: str) -> list[str]:
        number = self.random.choice([0, 1, 1, 1, 2, 3, 4, 5, 5, 6])
        if action == "delete":
            number = min(number, self.random.choice([1, 1, 1, 6]))
        names = self.random.choices([*KEYS * 4, *NO_KEYS], k=number)
        for nth in range(number if action == "get" else 0):
            if self.random.random() < 0.5:
                names[nth] = f"{self.random.choice(['a1', 'a2', 'a%2F3%25', 'a/3%', ''])}/{names[nth]}"
        return names


Send = Callable[[Request], Any]


@pytest.fixture
def send(call: Callable[..., Response], settings: Any) -> Send:
    """Ask the service, whose limits are small enough to be met."""
    settings.MAX_KEYS_PER_APP = model.MAX_KEYS_PER_APP
    settings.MAX_KEYS_PER_REQUEST = model.MAX_KEYS_PER_REQUEST
    settings.MAX_VALUE_BYTES = model.MAX_VALUE_BYTES
    settings.MAX_VALUES_BYTES = model.MAX_VALUES_BYTES

    def send(request: Request) -> Any:
        headers = {"Content-Type": "application/json"}
        if request.bearer:
            headers["Authorization"] = f"Bearer {request.bearer}"
        response = call("POST", request.path, json.dumps(request.body).encode(), headers)
        assert response.status_code == 200
        return exact(response)

    return send


def difference(request: Request, send: Send, of: Model) -> str:
    """What is wrong with the answer to a request; places in lists that it tells are learnt."""
    expected = of.answer(request.caller, request.storage, request.action, request.body)
    answer = send(request)
    place = expected.get("next_search_id")
    if isinstance(place, Place):
        told = answer.get("next_search_id")
        if told and of.places.setdefault(told, place.key) == place.key:
            expected["next_search_id"] = told
    return "" if answer == expected else f"{request.path} {request.body}\n is {answer}\n not {expected}"


def test_every_answer_is_that_of_the_model(send: Send, stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    generator, world, history = Generator(SEED), Model(), []
    started = time.monotonic()
    for step in range(STEPS):
        request = generator.request(list(world.places))
        history.append(request)
        if difference(request, send, world):
            shortest = "\n".join(shortened(history, send, stored, world.places))
            pytest.fail(f"MODEL_SEED={SEED}, step {step}; the shortest way there:\n{shortest}", pytrace=False)
        if step % LOOK_EVERY == 0:
            assert set(table(stored)) == set(rows(world)), f"MODEL_SEED={SEED}, step {step}"
    assert set(table(stored)) == set(rows(world)), f"MODEL_SEED={SEED}"
    with capsys.disabled():
        print(f"\n{STEPS} steps as the model has them, {STEPS / (time.monotonic() - started):.0f}/s; MODEL_SEED={SEED}")


def table(stored: Stored) -> Iterator[tuple[Any, ...]]:
    yield from stored.values_list("owner_kind", "owner_id", "key", "app", "value", "access_scope")


def rows(of: Model) -> Iterator[tuple[Any, ...]]:
    for owner, keys in of.rows.items():
        for key, row in keys.items():
            yield *owner, key, *row


def shortened(history: Sequence[Request], send: Send, stored: Stored, places: dict[str, str]) -> list[str]:
    """As few of the steps as still end in a wrong answer, and what is wrong in the end."""

    def wrong(steps: Sequence[Request]) -> str:
        stored.all().delete()
        world = Model(places=dict(places))
        return next(filter(None, (difference(step, send, world) for step in steps)), "")

    steps, size = list(history), len(history) // 2
    while size:
        for start in range(len(steps) - 1 - size, -1, -size):
            fewer = steps[:start] + steps[start + size :]
            if wrong(fewer):
                steps = fewer
        size //= 2
    return [*(f"{step.path} by {step.caller}: {step.body}" for step in steps), wrong(steps)]
