"""A real OpenID provider: its tokens at the door, and the whole service through its rotations and outages."""

import base64
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.identity import keyserver
from tests.identity.loop import Loop
from tests.identity.openid_provider import AUDIENCE, OpenIDProvider
from userdata.identity import Configuration, Identity, Principal, TokenInvalid

pytestmark = pytest.mark.node

StartService = Callable[..., Any]
SetValue = Callable[..., httpx2.Response]
Results = Callable[..., set[int]]

WORKERS = 2
REFRESH_SECONDS = 1


@pytest.fixture(scope="module")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIDProvider]:
    provider = OpenIDProvider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.close()


@pytest.fixture
def provider(running_provider: OpenIDProvider) -> Iterator[OpenIDProvider]:
    """The provider in good health, with two fresh keys."""
    running_provider.behave()
    running_provider.rotate(overlap=False)
    yield running_provider
    running_provider.behave()


def with_invented_kid(token: str) -> str:
    header, rest = token.split(".", 1)
    fields = json.loads(base64.urlsafe_b64decode(header + "=="))
    invented = json.dumps(fields | {"kid": str(uuid.uuid4())}).encode()
    return f"{base64.urlsafe_b64encode(invented).rstrip(b'=').decode()}.{rest}"


# At the door


@pytest.fixture
def door(provider: OpenIDProvider, loop: Loop) -> Iterator[Identity]:
    door = Identity(Configuration(provider.issuer, AUDIENCE, algorithms=["RS256", "ES256"]))
    loop(door.start())
    yield door
    loop(door.close())


@pytest.fixture
def outcome(door: Identity, loop: Loop) -> Callable[[str], Any]:
    """A token's principal, or the sentence that refuses it."""

    def outcome(token: str) -> Principal | str:
        try:
            principal: Principal = loop(door.verify(token.encode())).principal
            return principal
        except TokenInvalid as refusal:
            return str(refusal)

    return outcome


def test_a_user_who_logged_in_is_known(provider: OpenIDProvider, outcome: Callable[[str], Any]) -> None:
    assert outcome(provider.user_tokens("alice")["access_token"]) == Principal(
        sub="alice", app="demo-app", scopes=frozenset({"email", "user-data-set"})
    )


@pytest.mark.parametrize(("alg", "app"), [("RS256", "machine-rs256"), ("ES256", "machine-es256")])
def test_a_token_of_client_credentials_speaks_for_the_client(
    provider: OpenIDProvider, outcome: Callable[[str], Any], alg: str, app: str
) -> None:
    principal = outcome(provider.machine_token(alg))

    assert (principal.sub, principal.app, principal.email) == (app, app, None)


def test_the_providers_other_tokens_are_refused(provider: OpenIDProvider, outcome: Callable[[str], Any]) -> None:
    tokens = provider.user_tokens("alice")

    assert outcome(tokens["id_token"]) == "The token is not an access token."
    assert outcome(tokens["refresh_token"]) == "The token is not a signed JWT."
    assert outcome(with_invented_kid(tokens["access_token"])) == "The token's key is not known."


@pytest.mark.parametrize("overlap", [True, False])
def test_a_new_key_works_on_its_first_use(
    provider: OpenIDProvider, door: Identity, loop: Loop, outcome: Callable[[str], Any], overlap: bool
) -> None:
    old = provider.machine_token()
    assert outcome(old).app == "machine-rs256"

    provider.rotate(overlap=overlap)

    assert outcome(provider.machine_token()).app == "machine-rs256"
    assert outcome(provider.machine_token("ES256")).app == "machine-es256"
    assert isinstance(outcome(old), Principal) == overlap
    assert door.status().detail.startswith(f"{4 if overlap else 2} keys from {provider.issuer}")


def test_a_provider_that_is_stopped_and_started_again_is_not_missed(
    provider: OpenIDProvider, door: Identity, loop: Loop, outcome: Callable[[str], Any]
) -> None:
    first, second = provider.machine_token(), provider.machine_token()
    assert outcome(first).app == "machine-rs256"
    provider.stop()
    loop.skip(301)
    loop.until(lambda: "answered 502" in door.status().detail)

    assert outcome(first).app == outcome(second).app == "machine-rs256"

    provider.start()
    assert outcome(provider.machine_token()).app == "machine-rs256"


# The whole service


@pytest.fixture
def service(provider: OpenIDProvider, start_server: Any, database_url: str) -> Iterator[StartService]:
    """Start the service with the provider's issuer as its one source of keys; stopped at the end."""
    started = []

    def start(**environment: str) -> Any:
        trust: dict[str, str | None] = {
            "DATABASE_URL": database_url,
            "WORKERS": str(WORKERS),
            "JWT_PUBLIC_KEY": None,
            "JWT_ISSUER": provider.issuer,
            "JWT_AUDIENCE": AUDIENCE,
            "JWT_ALGORITHMS": "RS256,ES256",
            "JWT_JWKS_REFRESH_SECONDS": str(REFRESH_SECONDS),
        }
        started.append(start_server(wait="/readyz", **trust | environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """Each request over a connection of its own, so that all workers are asked."""
    with httpx2.Client(limits=httpx2.Limits(max_keepalive_connections=0), timeout=10) as http:
        yield http


@pytest.fixture
def set_value(http: httpx2.Client) -> SetValue:
    def set_value(server: Any, token: str) -> httpx2.Response:
        body = {"value_key": "theme", "value_data": "dark"}
        return http.post(f"{server.url}/user-data/set", json=body, headers={"Authorization": f"Bearer {token}"})

    return set_value


@pytest.fixture
def results(set_value: SetValue) -> Results:
    def results(server: Any, token: str) -> set[int]:
        return {set_value(server, token).json()["result"] for _ in range(10)}

    return results


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"


@pytest.mark.slow
def test_the_service_follows_a_rotation_and_refuses_a_revoked_key(
    provider: OpenIDProvider, service: StartService, results: Results
) -> None:
    server, old = service(), provider.machine_token()
    until(lambda: results(server, old) == {0})

    provider.rotate(overlap=False)
    rotated_at = time.monotonic()
    assert results(server, provider.machine_token()) == {0}
    until(lambda: results(server, old) == {-1})
    assert time.monotonic() < rotated_at + REFRESH_SECONDS + 1


@pytest.mark.slow
def test_the_service_outlasts_an_outage_with_the_keys_it_has_until_they_are_too_old(
    provider: OpenIDProvider, service: StartService, results: Results, set_value: SetValue
) -> None:
    server, token = service(JWT_JWKS_MAX_AGE_SECONDS="6"), provider.machine_token()
    until(lambda: results(server, token) == {0})
    provider.front.answer = keyserver.hang
    began = time.monotonic()
    while time.monotonic() < began + 4:
        asked_at = time.monotonic()
        assert set_value(server, token).json()["result"] == 0
        assert time.monotonic() - asked_at < 1
    provider.front.down()

    until(lambda: results(server, token) == {-4})
    assert time.monotonic() > began + 5 - REFRESH_SECONDS
    answer = set_value(server, token)
    assert (answer.status_code, answer.json()["result"]) == (200, -4)
    assert int(answer.headers["Retry-After"]) >= 1

    provider.behave()
    until(lambda: results(server, token) == {0})


@pytest.mark.slow
def test_a_flood_of_invented_kids_costs_few_fetches_in_each_worker(
    provider: OpenIDProvider, service: StartService, results: Results, set_value: SetValue
) -> None:
    server, token = service(JWT_JWKS_REFRESH_SECONDS="300"), provider.machine_token()
    until(lambda: results(server, token) == {0})
    before, began = key_fetches(provider), time.monotonic()

    with ThreadPoolExecutor(8) as callers:
        answers = callers.map(lambda _: set_value(server, with_invented_kid(token)), range(1000))
        assert Counter(answer.json()["result"] for answer in answers) == {-1: 1000}
    assert results(server, token) == {0}

    cool_downs = 1 + int((time.monotonic() - began) / 5)
    assert key_fetches(provider) - before <= WORKERS * cool_downs


def key_fetches(provider: OpenIDProvider) -> int:
    return sum(path == "/jwks" for _, path in provider.front.requests)
