"""The whole service with a real OpenID provider: tokens, rotation under load, outages, garbage and floods."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import BODY, Server
from tests.identity import keyserver
from tests.identity.keyserver import KeyServer, say
from tests.identity.load import Users, flooding, p99, with_invented_kid
from tests.identity.openid_provider import AUDIENCE, OpenIDProvider

REFRESH_SECONDS = 1
A_WORKER_LATER = 1.5  # one is asked whether it is ready, and the others follow within a second

StartService = Callable[..., Server]


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


@pytest.fixture
def start_service(provider: OpenIDProvider, start_server: Any, database_url: str) -> Iterator[StartService]:
    """Start the service with the provider's issuer as its one source of keys; stopped at the end."""
    started: list[Server] = []

    def start(wait: str = "/readyz", **environment: str) -> Server:
        trust = {
            "DATABASE_URL": database_url,
            "JWT_PUBLIC_KEY": None,
            "JWT_ISSUER": provider.issuer,
            "JWT_AUDIENCE": AUDIENCE,
            "JWT_ALGORITHMS": "RS256,ES256",
            "JWT_JWKS_REFRESH_SECONDS": str(REFRESH_SECONDS),
        }
        started.append(start_server(wait, **trust | environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def service(start_service: StartService) -> Server:
    return start_service()


def result(service: Server, token: str) -> Any:
    answer = service.set({"request_id": 7} | BODY, token)
    assert answer.status_code == 200
    assert answer.json()["request_id"] == 7
    return answer.json()["result"]


def metric(service: Server, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{service.url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def key_fetches(front: KeyServer, since: float = 0.0) -> int:
    return sum(at >= since and path == "/jwks" for at, path in front.requests)


# Tokens of a real provider


def test_a_user_who_logged_in_can_store_a_value(provider, service, stored):
    tokens = provider.user_tokens("alice")

    assert result(service, tokens["access_token"]) == 0
    row = stored.get()
    assert (row.owner_kind, row.owner_id, row.app, row.value) == ("user", "alice", "demo-app", "dark")


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_token_of_client_credentials_speaks_for_the_client(provider, service, stored, alg):
    assert result(service, provider.machine_token(alg)) == 0
    row = stored.get()
    assert (row.owner_id, row.app) == (f"machine-{alg.lower()}", f"machine-{alg.lower()}")


def test_keys_come_from_a_jwks_url_without_discovery_too(provider, start_service, stored):
    provider.front.requests.clear()
    service = start_service(JWT_JWKS_URL=provider.jwks_url)

    assert result(service, provider.machine_token()) == 0
    assert {path for _, path in provider.front.requests} == {"/jwks"}


def test_the_providers_other_tokens_are_refused(provider, service, stored):
    tokens = provider.user_tokens("alice")

    assert result(service, tokens["id_token"]) == -1
    assert result(service, tokens["refresh_token"]) == -1
    assert result(service, with_invented_kid(tokens["access_token"])) == -1
    assert result(service, provider.machine_token(scope="email")) == -3
    assert not stored.exists()


def test_readyz_and_metrics_tell_of_the_keys(provider, service, stored):
    time.sleep(2 * REFRESH_SECONDS)

    keys = httpx.get(f"{service.url}/readyz").json()["keys"]

    assert keys["usable"]
    assert 0 <= keys["age_seconds"] < 2 * REFRESH_SECONDS
    assert keys["detail"] == f"2 keys from {provider.issuer}/.well-known/openid-configuration"
    assert metric(service, 'userdata_jwks_refreshes_total{outcome="success"}') >= 2
    assert metric(service, 'userdata_jwks_refreshes_total{outcome="failure"}') == 0
    before = metric(service, "userdata_jwks_unknown_kids_total")
    assert result(service, with_invented_kid(provider.machine_token())) == -1
    assert metric(service, "userdata_jwks_unknown_kids_total") == before + 1


# Rotation


def test_rotation_with_overlap_fails_no_request(provider, service, stored):
    old = [provider.machine_token() for _ in range(20)]
    with Users(service.port, old) as users:
        time.sleep(1)
        provider.rotate(overlap=True)
        users.tokens = old[:10] + [provider.machine_token() for _ in range(10)]
        time.sleep(3 * REFRESH_SECONDS)

    assert len(users.answers) > 200
    assert {answer.result for answer in users.answers} == {0}


def test_rotation_without_overlap_fails_no_new_token_and_refuses_the_old_within_a_refresh(provider, service, stored):
    old = [provider.machine_token() for _ in range(20)]
    with Users(service.port, old) as users:
        time.sleep(1)
        provider.rotate(overlap=False)
        rotated_at = time.monotonic()
        new = [provider.machine_token() for _ in range(20)]
        users.tokens = old + new
        time.sleep(3 * REFRESH_SECONDS)

    assert {answer.result for answer in users.answers if answer.token in new} == {0}
    after = [answer for answer in users.since(rotated_at + REFRESH_SECONDS + 0.5) if answer.token in old]
    assert len(after) > 20
    assert {answer.result for answer in after} == {-1}


# Outages


def test_an_outage_fails_no_request_until_the_keys_are_too_old(provider, start_service, stored):
    service = start_service(JWT_JWKS_MAX_AGE_SECONDS="6")
    with Users(service.port, [provider.machine_token() for _ in range(20)]) as users:
        provider.front.answer = keyserver.hang
        began = time.monotonic()
        time.sleep(2)
        provider.front.down()
        while metric(service, 'userdata_jwks_refreshes_total{outcome="failure"}') < 2:
            time.sleep(0.1)
        assert time.monotonic() < began + 5
        time.sleep(max(0.0, began + 5 - time.monotonic()))
        during = users.since(began)
        time.sleep(3)
        after = users.since(began + 6 + REFRESH_SECONDS)
        provider.behave()
        service.wait_for("/readyz")
        time.sleep(A_WORKER_LATER)
        healed_at = time.monotonic()
        time.sleep(1)

    assert len(during) > 300
    assert {answer.result for answer in during} == {0}
    assert max(answer.took for answer in during) < 1
    assert {answer.result for answer in after} == {-4}
    assert max(answer.took for answer in after) < 3
    assert {answer.result for answer in users.since(healed_at)} == {0}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(KeyServer.down, id="down"),
        pytest.param(lambda front: setattr(front, "answer", keyserver.hang), id="hanging"),
        pytest.param(lambda front: setattr(front, "answer", say(503, b"", "text/html")), id="unavailable"),
    ],
)
def test_first_start_with_the_provider_away_heals_by_itself(provider, start_service, stored, bad):
    token = provider.machine_token()
    bad(provider.front)

    service = start_service(wait="/livez")

    ready = service.wait_for("/readyz", 503)
    assert ready.json()["database"]["usable"]
    assert not ready.json()["keys"]["usable"]
    began = time.monotonic()
    answer = service.set({"request_id": 7} | BODY, token)
    assert time.monotonic() - began < 3
    assert answer.status_code == 200
    assert answer.json() == {"request_id": 7, "result": -4}
    assert int(answer.headers["Retry-After"]) >= 1
    assert not stored.exists()

    provider.behave()
    service.wait_for("/readyz", 200, seconds=10)
    time.sleep(A_WORKER_LATER)
    assert [result(service, token) for _ in range(10)] == [0] * 10


def test_a_provider_that_is_stopped_and_started_again_is_not_missed(provider, service, stored):
    token = provider.machine_token()
    provider.stop()
    time.sleep(2 * REFRESH_SECONDS)
    assert result(service, token) == 0

    provider.start()
    assert result(service, provider.machine_token()) == 0


def test_garbage_from_the_provider_is_logged_and_harms_nobody(provider, start_service, stored):
    service = start_service(JWT_JWKS_URL=provider.jwks_url)
    garbage = {
        say(200, b"<!doctype html>", "text/html"): "answered 'text/html' that is not JSON",
        say(200, b'{"keys": []}'): "answered JSON that holds no keys",
        say(200, b"[" + b" " * 2**20 + b"]"): "answered more than 524288 bytes",
        keyserver.reset: "broke off",
    }
    with Users(service.port, [provider.machine_token()]) as users:
        for answer in garbage:
            seen = len(provider.front.requests)
            provider.front.answer = answer
            deadline = time.monotonic() + 10
            while len(provider.front.requests) < seen + 3 and time.monotonic() < deadline:
                time.sleep(0.05)

    assert {answer.result for answer in users.answers} == {0}
    log = service.log.read_text()
    workers = 2
    for cause in garbage.values():
        assert 1 <= log.count(cause) <= workers, log[-2000:]
    assert "Traceback" not in log


# A flood


def test_ten_thousand_invented_kids_in_ten_seconds_cost_three_fetches_and_slow_nobody_down(
    provider, start_service, stored
):
    service = start_service(JWT_JWKS_REFRESH_SECONDS="300")
    tokens = [provider.machine_token() for _ in range(100)]
    for _ in range(4):
        with Users(service.port, tokens) as users:
            time.sleep(5)
            flood_at = time.monotonic()
            with flooding(service.port, tokens[0], requests=10_000, seconds=10) as flood:
                results = flood.result()
            ended_at = time.monotonic()
            time.sleep(5)

        # While a fetch is slow, as on a busy machine, a crowd is sent away with -4 instead of kept waiting.
        assert results[-1] + results[-4] == 10_000
        assert results[-1] > 9_900
        assert {answer.result for answer in users.answers} == {0}
        assert key_fetches(provider.front, flood_at) <= 3
        # The machine may have other things to do, before, during or after: hence both sides, and another try.
        during = p99([answer for answer in users.since(flood_at) if answer.at < ended_at])
        without = max(p99([answer for answer in users.answers if answer.at < flood_at]), p99(users.since(ended_at)))
        print(f"p99 in the flood {during:.4f} s, without it {without:.4f} s")
        if during <= 2 * without:
            break
    else:
        pytest.fail(f"p99 rose from {without:.4f} to {during:.4f} s")
