"""What all 22 endpoints share, written once and run for each: acceptance cases 1 to 9 and 61."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from tests.application import Response
from tests.conftest import Server, free_port
from tests.endpoints.conftest import Ask, Rows, Stored, exact
from tests.endpoints.family import ENDPOINTS, NOW, STORAGES, A, B, Endpoint, a, smallest
from userdata import parsers
from userdata.storage import Store

SCOPES = ("email", "user-data-set", "user-data-get")
EXPIRED = a(exp=NOW - 3600)

# A success with something in every field: A has set `k`, B shares `b`.
FOUND: dict[str, dict[str, Any]] = {
    "set": {"result": 0},
    "get": {"result": 0, "values": [{"value_key": "k", "value_data": "v"}]},
    "list-get": {"result": 0, "keys_private": [], "keys_public": ["k"]},
    "shared-list-get": {"result": 0, "keys_shared": ["a2/b"], "next_search_id": ""},
    "delete": {"result": 0, "keys_delete_results": [{"value_key": "k", "is_deleted": True}]},
}


@pytest.fixture
def filled(ask: Ask, endpoint: Endpoint, rows: Callable[[], Rows]) -> Rows:
    """The endpoint's storage, in which A has set `k` and B shares `b`."""
    field = STORAGES[endpoint.below]
    for bearer, key in ((A, "k"), (B, "b")):
        response = ask(endpoint.below + "set", {**field, "value_key": key, "value_data": "v"}, bearer)
        assert exact(response) == {"result": 0}
    return rows()


def without(*scopes: str) -> str:
    return a(scope=" ".join(scope for scope in SCOPES if scope not in scopes))


def test_without_a_token_it_is_token_invalid(
    ask: Ask, endpoint: Endpoint, filled: Rows, rows: Callable[[], Rows]
) -> None:  # case 1
    for bearer, headers in ((None, {}), (None, {"Authorization": "Basic dTpw"})):
        response = ask(endpoint.path, {**endpoint.body, "request_id": 7}, bearer, **headers)

        assert (response.status_code, exact(response)) == (200, {"request_id": 7, "result": -1, **endpoint.empty})
        assert response["WWW-Authenticate"] == "Bearer"
    for bearer in ("x", "x.y.z", a(iss="https://elsewhere.example"), A[:-4] + "AAAA"):
        response = ask(endpoint.path, {**endpoint.body, "request_id": 7}, bearer)

        assert (response.status_code, exact(response)) == (200, {"request_id": 7, "result": -1, **endpoint.empty})
        assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token", error_description="The token')
    assert rows() == filled


def test_an_expired_token_is_told(ask: Ask, endpoint: Endpoint, filled: Rows, rows: Callable[[], Rows]) -> None:  # 2
    response = ask(endpoint.path, endpoint.body, EXPIRED)

    assert (response.status_code, exact(response)) == (200, {"result": -2, **endpoint.empty})
    assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token", error_description="The token')
    assert rows() == filled


def test_each_of_two_scopes_is_needed_and_the_third_is_not(
    ask: Ask, endpoint: Endpoint, filled: Rows, rows: Callable[[], Rows]
) -> None:  # case 3
    other = "user-data-set" if endpoint.is_read else "user-data-get"
    for bearer in (without(endpoint.scope), without("email"), without(*SCOPES), a(scope=f"email {endpoint.scope}s")):
        response = ask(endpoint.path, endpoint.body, bearer)

        assert (response.status_code, exact(response)) == (200, {"result": -3, **endpoint.empty})
        assert response["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="email {endpoint.scope}"'
        assert response["X-Result-Detail"] == f"The token needs the scopes email {endpoint.scope}."
    assert rows() == filled
    assert exact(ask(endpoint.path, endpoint.body, without(other))) == FOUND[endpoint.action]


def test_what_is_no_json_object_is_invalid_parameters(ask: Ask, stored: Stored, endpoint: Endpoint) -> None:  # case 5
    for body in (b"[]", b'{"request_id":7,', b"null", b'"a"', b" \r\n", b"\xff", b"\xef\xbb\xbf{}", b"{} {}"):
        response = ask(endpoint.path, body)

        assert (response.status_code, exact(response)) == (200, {"result": -5, **endpoint.empty}), body
        assert response["X-Result-Detail"].startswith("The body"), body
        assert "WWW-Authenticate" not in response
    assert not stored.exists()


@pytest.mark.parametrize("id_", [2**63 - 1, -(2**63), 0], ids=str)
def test_the_request_id_comes_back_in_all_its_digits(ask: Ask, endpoint: Endpoint, id_: int) -> None:  # case 6
    body = {"request_id": id_, **endpoint.body}
    success = ask(endpoint.path, body)
    failures = [
        ask(endpoint.path, body, None),
        ask(endpoint.path, body, EXPIRED),
        ask(endpoint.path, body, without("email")),
        ask(endpoint.path, {"request_id": id_, "value_key": 7, "value_keys": 7, "search_id": 7}),
        ask(endpoint.path, body, A, **{"Content-Type": "text/plain"}),
    ]

    assert exact(success) == {"request_id": id_, **smallest(endpoint)}
    assert [exact(each)["result"] for each in failures[:3]] == [-1, -2, -3]
    for response in (success, *failures):
        assert response.content.startswith(b'{"request_id": %d, "result": ' % id_)


def test_another_request_id_is_refused_and_not_repeated(ask: Ask, stored: Stored, endpoint: Endpoint) -> None:
    no_ids: list[Any] = [2**63, -(2**63) - 1, 7.0, "7", True, [7], {}, 10**30]
    for id_ in no_ids:
        body = {**endpoint.body, "request_id": id_}

        response = ask(endpoint.path, body)

        assert (response.status_code, exact(response)) == (200, {"result": -5, **endpoint.empty}), id_
        assert response["X-Result-Detail"] == "request_id must be an integer within int64.", id_
        assert exact(ask(endpoint.path, body, None)) == {"result": -1, **endpoint.empty}, id_
    assert not stored.exists()


def test_null_in_an_optional_field_is_absent_and_unknown_fields_are_ignored(ask: Ask, endpoint: Endpoint) -> None:
    extra = {"colour": ["red", None], "user_id": "u2", "email": "u2@example.com", "request_id": None}
    optional = dict.fromkeys(("access_scope", "page_size", "search_id", "wallet_address"))

    assert exact(ask(endpoint.path, {**endpoint.body, **extra, **optional})) == smallest(endpoint)


def test_an_empty_body_is_an_empty_object_whatever_its_content_type(
    ask: Ask, stored: Stored, endpoint: Endpoint
) -> None:
    wants_a_field = endpoint.action not in ("list-get", "shared-list-get") or endpoint.below == "/user-data/by-idp/"
    for content_type in ("", "application/x-www-form-urlencoded", "text/plain", "application/json"):
        response = ask(endpoint.path, None, A, **{"Content-Type": content_type})

        assert response.content == ask(endpoint.path, {}).content
        assert exact(response) == {"result": -5 if wants_a_field else 1, **endpoint.empty}
    assert not stored.exists()


def test_another_content_type_is_refused_where_there_is_a_body(ask: Ask, stored: Stored, endpoint: Endpoint) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-16"):
        response = ask(endpoint.path, {**endpoint.body, "request_id": 7}, A, **{"Content-Type": content_type})

        assert (response.status_code, exact(response)) == (200, {"request_id": 7, "result": -5, **endpoint.empty})
        assert response["X-Result-Detail"].startswith("Content-Type must")
    assert not stored.exists()


def test_another_method_and_a_slash_at_the_end_are_refused(
    call: Callable[..., Response], ask: Ask, stored: Stored, endpoint: Endpoint
) -> None:  # case 7
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"):
        response = call(method, endpoint.path, json.dumps(endpoint.body).encode(), {"Authorization": f"Bearer {A}"})

        assert (response.status_code, response["Allow"]) == (405, "POST")
        assert method == "HEAD" or exact(response)["result"] == -5
        assert method == "HEAD" or exact(response).keys() <= {"result", *endpoint.empty}
    response = ask(endpoint.path + "/", endpoint.body)
    assert (response.status_code, exact(response)) == (404, {"result": -5})
    assert not stored.exists()


def test_a_web_page_may_call(call: Callable[..., Response], ask: Ask, endpoint: Endpoint) -> None:  # case 8
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}

    preflight = call("OPTIONS", endpoint.path, headers={"Origin": "https://page.example"} | asked)

    assert preflight.status_code == 200
    assert preflight["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight["Access-Control-Allow-Methods"]
    assert preflight["Access-Control-Allow-Headers"] == "authorization, content-type"
    for bearer in (A, None):
        response = ask(endpoint.path, endpoint.body, bearer, Origin="https://page.example")
        assert response["Access-Control-Allow-Origin"] == "*"
        assert {"X-Result-Detail", "Retry-After", "WWW-Authenticate"} <= set(
            response["Access-Control-Expose-Headers"].split(", ")
        )


def test_a_success_has_exactly_the_fields_of_its_endpoint(
    ask: Ask, endpoint: Endpoint, filled: Rows, rows: Callable[[], Rows]
) -> None:  # case 9; the failures are above
    response = ask(endpoint.path, endpoint.body)

    assert (response.status_code, exact(response)) == (200, FOUND[endpoint.action])
    assert "X-Result-Detail" not in response
    assert len(rows()) == (1 if endpoint.action == "delete" else 2)


def test_reads_are_kept_out_of_caches_failures_too(
    ask: Ask, endpoint: Endpoint, filled: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses = [
        ask(endpoint.path, endpoint.body),
        ask(endpoint.path, {**endpoint.body, "value_keys": ["no"]}),
        ask(endpoint.path, {**endpoint.body, "value_keys": ["no"] * 101}),
        ask(endpoint.path, endpoint.body, None),
        ask(endpoint.path, endpoint.body, EXPIRED),
        ask(endpoint.path, endpoint.body, without("email")),
        ask(endpoint.path, b"{"),
        ask(endpoint.path, b" " * (2 * 2**20 + 1)),
    ]
    monkeypatch.setattr(parsers, "MAX_LARGE_BODIES", 0)
    responses.append(ask(endpoint.path, b" " * 70_000))

    assert exact(responses[-1])["result"] == -4
    for response in responses:
        assert ("Cache-Control" in response) == endpoint.is_read
        assert not endpoint.is_read or response["Cache-Control"] == "no-store"


def test_a_body_over_the_limit_is_refused(ask: Ask, stored: Stored, endpoint: Endpoint) -> None:  # case 61
    content = json.dumps(endpoint.body).encode()

    at_the_limit = ask(endpoint.path, content.ljust(2 * 2**20))
    over_it = ask(endpoint.path, content.ljust(2 * 2**20 + 1))

    assert exact(at_the_limit) == smallest(endpoint)
    assert over_it.status_code == (413 if endpoint.is_basic else 200)
    assert exact(over_it) == {"result": -5, **endpoint.empty}
    assert over_it["X-Result-Detail"] == "The body may have at most 2097152 bytes."
    assert stored.count() == (1 if endpoint.action == "set" else 0)


def test_more_large_bodies_than_a_worker_takes_are_told_to_slow_down(
    ask: Ask, stored: Stored, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:  # case 61
    monkeypatch.setattr(parsers, "MAX_LARGE_BODIES", 0)

    response = ask(endpoint.path, json.dumps(endpoint.body).encode().ljust(70_000))

    assert response.status_code == (429 if endpoint.is_basic else 200)
    assert exact(response) == {"result": -4, **endpoint.empty}
    assert response["Retry-After"] == "1"
    assert not stored.exists()


def test_an_unforeseen_error_is_told_and_its_cause_logged(
    ask: Ask,
    stored: Stored,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # case 61
    async def fail(*args: object) -> None:
        raise LookupError("nobody thought of this")

    for method in ("put", "get", "list", "list_shared", "delete"):
        monkeypatch.setattr(Store, method, fail)

    response = ask(endpoint.path, {**endpoint.body, "request_id": 7})

    assert response.status_code == (500 if endpoint.is_basic else 200)
    assert exact(response) == {"request_id": 7, "result": -4, **endpoint.empty}
    assert response["Retry-After"] == "1"
    assert "nobody thought of this" in caplog.text
    assert response["X-Request-Id"] in caplog.text
    assert not stored.exists()


def test_the_checks_come_in_their_order(ask: Ask, stored: Stored, endpoint: Endpoint) -> None:
    """Token, scopes, proof of the storage, fields, identity, key or number of keys."""
    worst = {"value_key": 7, "value_keys": 7, "search_id": 7, "identity_provider": 7, "wallet_address": 7}
    bad_owner = {"identity_provider": "nowhere", "wallet_address": "nobody's"}
    bad_key = {"value_key": "", "value_keys": ["k"] * 101}

    def result(body: dict[str, Any], bearer: str | None) -> int:
        number: int = exact(ask(endpoint.path, {**endpoint.body, **body}, bearer))["result"]
        return number

    by_idp, by_wallet, by_email = (endpoint.below.endswith(f"/by-{name}/") for name in ("idp", "wallet", "email"))
    has_fields = endpoint.action != "list-get" or by_idp or by_wallet
    assert result(worst, None) == -1
    assert result(worst, EXPIRED) == -2
    assert result(worst, without("email")) == -3
    assert result(worst, a(email_verified=False)) == (-3 if by_email else -5 if has_fields else 1)
    assert result({**bad_owner, **bad_key, "value_data": 7, "search_id": "?", "request_id": 7.5}, A) == -5
    if by_idp or by_wallet:
        assert result(bad_owner | bad_key, A) == -6
    if endpoint.action in ("set", "get", "delete"):
        number = {"set": -7, "get": -6, "delete": -5}[endpoint.action]
        moved = (by_idp or by_wallet) and endpoint.action != "delete"
        assert result(bad_key, A) == number - moved
    assert not stored.exists()


@pytest.fixture(scope="module")
def without_a_database(start_server: Callable[..., Server]) -> Server:
    return start_server(DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")


@pytest.mark.slow
def test_without_its_database_each_tells_callers_to_come_back(without_a_database: Server) -> None:  # case 4
    def post(endpoint: Endpoint) -> httpx.Response:
        return http.post(
            endpoint.path, json={**endpoint.body, "request_id": 7}, headers={"Authorization": f"Bearer {A}"}
        )

    with httpx.Client(base_url=without_a_database.url, timeout=10) as http, ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(post, ENDPOINTS))

    for endpoint, response in zip(ENDPOINTS, responses, strict=True):
        assert response.status_code == 200, endpoint
        assert response.json() == {"request_id": 7, "result": -4, **endpoint.empty}, endpoint
        assert response.headers["Retry-After"] == "1", endpoint
        assert response.headers.get("Cache-Control") == ("no-store" if endpoint.is_read else None), endpoint
        assert response.elapsed.total_seconds() < 3, endpoint
