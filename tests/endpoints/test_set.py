"""POST /user-data/set: each row of the contract's tables, with its numbers as they are on the wire."""

import time
from typing import Any

import pytest

from tests.conftest import BODY, SET
from tests.tokens import ABSENT, APP, USER, token
from userdata.storage import Store

NOW = int(time.time())
ID = {"request_id": 7}


def test_it_stores_the_value_exactly_as_given(post: Any, stored: Any) -> None:
    response = post({"request_id": 7, "value_key": " Theme\u00a0", "value_data": " 1.0 \n"})

    assert response.status_code == 200
    assert response.json() == {"request_id": 7, "result": 0}
    row = stored.get()
    assert (row.owner_kind, row.owner_id, row.key, row.value) == ("user", USER, " Theme\u00a0", " 1.0 \n")
    assert (row.app, row.access_scope, row.revision) == (APP, 0, 1)


def test_an_answer_is_json_in_utf8_with_a_name_in_the_log(post: Any) -> None:
    response = post()

    assert response["Content-Type"] == "application/json; charset=UTF-8"
    assert response["Content-Length"] == str(len(response.content))
    assert len(response["X-Request-Id"]) == 32
    assert "X-Result-Detail" not in response
    assert post(**{"X-Request-Id": "from-the-balancer.1"})["X-Request-Id"] == "from-the-balancer.1"
    assert len(post(**{"X-Request-Id": "no good\u00e9"})["X-Request-Id"]) == 32


def test_the_last_write_wins_and_counts_the_revision(post: Any, stored: Any) -> None:
    for value in ("dark", "light", ""):
        assert post(BODY | {"value_data": value}).json() == {"result": 0}

    assert (stored.get().value, stored.get().revision) == ("", 3)
    assert stored.get().updated_at > stored.get().created_at


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"request_id": None}, id="null in an optional field means absent"),
        pytest.param({"colour": "red", "nested": {"a": [1, None]}}, id="unknown fields are ignored"),
        pytest.param({"huge": 10**5000 // 10**4500}, id="an unknown field may be a huge number"),
    ],
)
def test_it_ignores(post: Any, stored: Any, extra: dict[str, Any]) -> None:
    assert post(BODY | extra).json() == {"result": 0}
    assert stored.get().value == "dark"


def test_cookies_are_ignored(post: Any, stored: Any) -> None:
    response = post(Cookie="KEYCLOAK_SESSION=abc; gateway=1; broken")

    assert response.json() == {"result": 0}
    assert "Set-Cookie" not in response


@pytest.mark.parametrize("number", [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_a_request_id_comes_back_exactly(post: Any, number: int) -> None:
    assert post(BODY | {"request_id": number}).content == b'{"request_id": %d, "result": 0}' % number


@pytest.mark.parametrize(
    "number", [b"9223372036854775808", b"-9223372036854775809", b"7.0", b'"7"', b"true", b"1e3", b"[]", b"1" * 6000]
)
def test_what_is_no_int64_is_no_request_id(post: Any, stored: Any, number: bytes) -> None:
    response = post(b'{"request_id": %s, "value_key": "theme", "value_data": "dark"}' % number)

    assert response.json() == {"result": -5}
    assert response["X-Result-Detail"] == "request_id must be an integer within int64."
    assert not stored.exists()


@pytest.mark.parametrize(
    ("claims", "result"),
    [
        pytest.param({"iss": "https://elsewhere.example"}, -1, id="foreign issuer"),
        pytest.param({"typ": "ID"}, -1, id="an ID token"),
        pytest.param({"nbf": NOW + 3600}, -1, id="not yet valid"),
        pytest.param({"sub": ABSENT}, -1, id="a required claim missing"),
        pytest.param({"exp": NOW - 3600}, -2, id="expired"),
        pytest.param({"exp": NOW - 3600, "scope": "email"}, -2, id="expired goes before scopes"),
        pytest.param({"exp": NOW - 3600, "iss": "https://elsewhere.example"}, -1, id="expired and foreign"),
        pytest.param({"scope": "email"}, -3, id="scope user-data-set missing"),
        pytest.param({"scope": "user-data-set"}, -3, id="scope email missing"),
        pytest.param({"scope": ABSENT}, -3, id="no scopes at all"),
    ],
)
def test_a_refused_token_stores_nothing(post: Any, stored: Any, claims: dict[str, Any], result: int) -> None:
    response = post(BODY | ID, token(**claims))

    assert response.status_code == 200
    assert response.json() == {"request_id": 7, "result": result}
    assert not stored.exists()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b" ", "The body is empty; it must be a JSON object."),
        (b"{", "The body must be JSON."),
        (b"value_key=a&value_data=b", "The body must be JSON."),
        (b"[]", "The body must be a JSON object."),
        (b'"text"', "The body must be a JSON object."),
        (b"null", "The body must be a JSON object."),
        (b'{"value_key": NaN}', "The body must be JSON."),
        (b'{"a": 1} {"b": 2}', "The body must be JSON."),
        (b'\xef\xbb\xbf{"value_key": "a", "value_data": "b"}', "The body must not start with a byte order mark."),
        ('{"value_key": "a", "value_data": "b"}'.encode("utf-16"), "The body must be UTF-8."),
        (b'{"value_key": "\xff", "value_data": "b"}', "The body must be UTF-8."),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "The body is nested too deeply."),
        (b'{"value_key": "a\nb", "value_data": "b"}', "The body must be JSON."),
    ],
)
def test_what_is_no_json_object_is_refused(post: Any, stored: Any, body: bytes, detail: str) -> None:
    response = post(body)

    assert (response.status_code, response.json()) == (200, {"result": -5})
    assert response["X-Result-Detail"] == detail
    assert not stored.exists()


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"value_key": ABSENT}, "value_key is required."),
        ({"value_key": None}, "value_key is required."),
        ({"value_data": ABSENT}, "value_data is required."),
        ({"value_data": None}, "value_data is required."),
        ({"value_key": 1}, "value_key must be a string."),
        ({"value_key": True}, "value_key must be a string."),
        ({"value_data": 1.5}, "value_data must be a string."),
        ({"value_data": {}}, "value_data must be a string."),
        ({"value_data": ["a"]}, "value_data must be a string."),
        ({"value_data": "a\0b"}, "value_data must not contain U+0000."),
        ({"value_data": "\ud800"}, "value_data must not contain lone surrogates."),
        ({"value_data": "a" * 262_145}, "value_data may have at most 262144 bytes in UTF-8."),
        ({"value_data": "\u00e9" * 131_073}, "value_data may have at most 262144 bytes in UTF-8."),
        ({"value_key": "", "value_data": 1}, "value_data must be a string."),  # -5 goes before -7
    ],
)
def test_invalid_parameters_are_refused(post: Any, stored: Any, change: dict[str, Any], detail: str) -> None:
    body = {name: value for name, value in (BODY | ID | change).items() if value is not ABSENT}

    response = post(body)

    assert (response.status_code, response.json()) == (200, {"request_id": 7, "result": -5})
    assert response["X-Result-Detail"] == detail
    assert not stored.exists()


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("", "value_key must have 1 to 128 characters."),
        ("k" * 129, "value_key must have 1 to 128 characters."),
        *((f"a{chr(code)}b", "value_key must not contain control characters.") for code in (0, 9, 10, 31, 127, 159)),
        ("\ud800", "value_key must not contain lone surrogates."),
        ("a\udfff", "value_key must not contain lone surrogates."),
    ],
)
def test_a_key_that_is_not_allowed_is_refused(post: Any, stored: Any, key: str, detail: str) -> None:
    response = post(BODY | ID | {"value_key": key})

    assert (response.status_code, response.json()) == (200, {"request_id": 7, "result": -7})
    assert response["X-Result-Detail"] == detail
    assert not stored.exists()


@pytest.mark.parametrize("key", ["k", "k" * 128, "\U0001f511" * 128, " ", "\u00a0", "a/b?c=d", "\ufeff", "'; --"])
def test_an_allowed_key_is_stored_as_it_is(post: Any, stored: Any, key: str) -> None:
    assert post(BODY | {"value_key": key}).json() == {"result": 0}
    assert stored.get().key == key


def test_keys_that_look_alike_are_different(post: Any, stored: Any) -> None:
    keys = ["key", "Key", "key ", "\u212bk", "\u00c5k", "A\u030ak", "k\u200dey"]

    for key in keys:
        assert post(BODY | {"value_key": key}).json() == {"result": 0}

    assert sorted(stored.values_list("key", flat=True)) == sorted(keys)


@pytest.mark.parametrize("value", ["", "a" * 262_144, "\u20ac" * 87_381, "\x01\x1f\x7f\u2028", "\\u0000"])
def test_a_value_may_be_anything_else(post: Any, stored: Any, value: str) -> None:
    assert post(BODY | {"value_data": value}).json() == {"result": 0}
    assert stored.get().value == value


def test_the_last_of_duplicate_members_counts(post: Any, stored: Any) -> None:
    response = post(b'{"request_id": 1, "value_key": "a", "value_data": "x", "request_id": 2, "value_data": "y"}')

    assert response.json() == {"request_id": 2, "result": 0}
    assert stored.get().value == "y"


def test_a_key_of_another_app_is_refused_and_unchanged(post: Any, stored: Any) -> None:
    post()

    response = post(BODY | ID | {"value_data": "light"}, token(azp="other-app"))

    assert (response.status_code, response.json()) == (200, {"request_id": 7, "result": -6})
    assert response["X-Result-Detail"] == "value_key belongs to another app."
    assert (stored.get().value, stored.get().app, stored.get().revision) == ("dark", APP, 1)


def test_the_same_key_of_another_user_is_another_key(post: Any, stored: Any) -> None:
    assert post().json() == post(bearer=token(sub="someone else", azp="other-app")).json() == {"result": 0}
    assert stored.count() == 2


def test_a_body_over_the_limit_is_refused(post: Any, stored: Any) -> None:
    body = b'{"request_id": 7, "value_key": "k", "value_data": "v"}'

    at_the_limit = post(body.ljust(2 * 2**20))
    over_it = post(body.ljust(2 * 2**20 + 1), None)

    assert at_the_limit.json() == {"request_id": 7, "result": 0}
    assert (over_it.status_code, over_it.json()) == (413, {"result": -5})
    assert over_it["X-Result-Detail"] == "The body may have at most 2097152 bytes."
    assert stored.get().revision == 1


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/jsonp"],
)
def test_another_media_type_is_refused(post: Any, stored: Any, content_type: str) -> None:
    response = post(BODY | ID, content_type=content_type)

    assert response.json() == {"request_id": 7, "result": -5}
    assert response["X-Result-Detail"].startswith("Content-Type must")
    assert not stored.exists()


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json ; x=y",
        "application/json;",
    ],
)
def test_the_media_type_is_read_as_http_says(post: Any, content_type: str) -> None:
    assert post(content_type=content_type).json() == {"result": 0}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_refused_before_all_else(call: Any, stored: Any, method: str) -> None:
    response = call(method, SET, b"x" * 3 * 2**20, {"Content-Type": "text/plain"})

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert method == "HEAD" or response.json() == {"result": -5}
    assert not stored.exists()


@pytest.mark.parametrize("path", ["/", SET + "/", "/user-data", "/user-data/SET", "/user-data//set"])
def test_an_unknown_path_is_refused(post: Any, stored: Any, path: str) -> None:
    response = post(path=path)

    assert (response.status_code, response.json()) == (404, {"result": -5})
    assert response["Content-Type"] == "application/json; charset=UTF-8"
    assert not stored.exists()


def test_the_checks_come_in_their_order(post: Any, stored: Any) -> None:
    expired, scopeless = token(exp=NOW - 3600), token(scope="")

    assert post(BODY | ID | {"value_key": ""}, None).json() == {"request_id": 7, "result": -1}
    assert post(b"{", expired).json() == {"result": -2}
    assert post(BODY | ID | {"value_key": 1}, scopeless).json() == {"request_id": 7, "result": -3}
    assert post(BODY | {"value_key": "", "request_id": 7.5}).json() == {"result": -5}
    assert post(BODY | ID | {"value_key": ""}).json() == {"request_id": 7, "result": -7}
    assert not stored.exists()


def test_a_challenge_tells_what_the_token_lacks(post: Any) -> None:
    assert post(bearer=None)["WWW-Authenticate"] == "Bearer"
    assert post(bearer=None, Authorization="Basic dTpw")["WWW-Authenticate"] == "Bearer"
    assert post(bearer="x")["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="The token is not a signed JWT."'
    )
    assert post(bearer=token(exp=NOW - 3600))["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="The token has expired."'
    )
    assert post(bearer=token(scope="email"))["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="email user-data-set"'
    )
    assert "WWW-Authenticate" not in post(b"{")


def test_a_web_page_may_call(call: Any, post: Any) -> None:
    preflight = call(
        "OPTIONS",
        SET,
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )

    assert preflight.status_code == 200
    assert preflight["Access-Control-Allow-Origin"] == "*"
    assert preflight["Access-Control-Allow-Methods"] == "POST"
    assert preflight["Access-Control-Allow-Headers"] == "authorization, content-type"
    response = post(b"{", Origin="https://page.example")
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response
    assert "X-Result-Detail" in response["Access-Control-Expose-Headers"]


def test_the_origins_that_may_call_are_a_setting(post: Any, settings: Any) -> None:
    settings.CORS_ALLOW_ALL_ORIGINS, settings.CORS_ALLOWED_ORIGINS = False, ["https://page.example"]

    assert post(Origin="https://page.example")["Access-Control-Allow-Origin"] == "https://page.example"
    assert "Access-Control-Allow-Origin" not in post(Origin="https://elsewhere.example")


def test_the_limits_are_settings(post: Any, stored: Any, settings: Any) -> None:
    settings.MAX_KEY_CHARS, settings.MAX_VALUE_BYTES, settings.MAX_KEYS_PER_APP = 2, 3, 1

    assert post({"value_key": "abc", "value_data": ""}).json() == {"result": -7}
    assert post({"value_key": "ab", "value_data": "four"}).json() == {"result": -5}
    assert post({"value_key": "ab", "value_data": "ok"}).json() == {"result": 0}
    assert post({"value_key": "cd", "value_data": "ok"}).json() == {"result": -5}
    assert stored.get().key == "ab"


def test_an_unforeseen_error_is_told_and_its_cause_logged(
    post: Any, stored: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: object) -> None:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(Store, "put", fail)

    response = post({"request_id": 7, "value_key": "theme", "value_data": "a private value"})

    assert response.status_code == 500
    assert response.json() == {"request_id": 7, "result": -4}
    assert response["Retry-After"] == "1"
    assert "nobody thought of this" in caplog.text
    assert response["X-Request-Id"] in caplog.text
    assert "a private value" not in caplog.text
    assert not stored.exists()
