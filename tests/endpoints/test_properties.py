"""What holds for any key, any value, any JSON and any bytes."""

import json
import re
import time
from collections.abc import Callable
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import BODY
from tests.tokens import APP, USER, token

# Code points that trimming, case folding, normalisation, width or quoting would change or trip over.
ODD = [
    *" \u00a0\u2003\u3000\u200b\u200d\u2060\u00ad\ufeff",
    *"\u2028\u2029\u202e\u2066\ufffe\uffff\ufffd\U0001fffe\U0010ffff\ue000",
    *"\u00c5\u212b\u030a\u0301\u1e9b\ufb01\u00df\u0130\u0131\u03c2\u1100\u1161\uac00\u0958",
    *"\U0001f511\U0001f1fa\U0001f3fd\ufe0f\U000e0041",
    *"'\"\\/%$;{}[]<>&?#:.,-_*^|~`\x20",
]
keys = st.text(st.sampled_from(ODD) | st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=128)
values = st.text(
    st.sampled_from([*ODD, *"\x01\t\n\r\x1b\x1f\x7f\x80\x85\x9f"])
    | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=600,
)
any_text = st.text(st.sampled_from([*ODD, *"\0\n\x7f\x80\ud800\udfff"]) | st.characters(), max_size=140)
numbers = (
    st.integers()
    | st.integers(-(2**66), 2**66)
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**53 + 1, 10**19, 10**30, -0.0, 7.0, 1e300])
    | st.floats(allow_nan=False, allow_infinity=False)
)
scalars = st.none() | st.booleans() | numbers | any_text
any_json = st.recursive(scalars, lambda some: st.lists(some) | st.dictionaries(any_text, some), max_leaves=20)
likely_bodies = st.fixed_dictionaries(
    {},
    optional={
        "request_id": numbers | any_json,
        "value_key": keys | any_text | any_json,
        "value_data": values | any_text | any_json,
        "access_scope": any_json,
    },
)

GOOD = token(exp=int(time.time()) + 3600)
BEARERS: dict[str | None, int] = {
    GOOD: 0,
    None: -1,
    "not.a.token": -1,
    token(iss="https://elsewhere.example"): -1,
    token(exp=int(time.time()) - 3600): -2,
    token(scope="email", exp=int(time.time()) + 3600): -3,
}


def examples(number: int) -> Callable[..., Any]:
    """Nothing is kept between runs, and a slow machine is no failure."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def expected(body: bytes) -> tuple[int, int | None]:
    """The result and the echo for a body that comes with a good token, by the contract."""

    def no_json(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        fields = json.loads(body.decode(), parse_constant=no_json)
    except ValueError:
        return -5, None
    if not isinstance(fields, dict):
        return -5, None
    request_id, key, value = (fields.get(name) for name in ("request_id", "value_key", "value_data"))
    valid = type(request_id) is int and -(2**63) <= request_id < 2**63
    echo = request_id if valid else None
    if not (valid or request_id is None) or not isinstance(key, str) or not isinstance(value, str):
        return -5, echo
    if "\0" in value or not is_unicode(value) or len(value.encode()) > 262_144:
        return -5, echo
    if not 1 <= len(key) <= 128 or re.search("[\x00-\x1f\x7f-\x9f]", key) or not is_unicode(key):
        return -7, echo
    return 0, echo


def is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def answer(result: int, echo: int | None) -> bytes:
    return b'{"result": %d}' % result if echo is None else b'{"request_id": %d, "result": %d}' % (echo, result)


def assert_well_formed(response: Any, status: int, result: int) -> None:
    assert response.status_code == status
    assert response["Content-Type"] == "application/json; charset=UTF-8"
    assert ("X-Result-Detail" in response) == (result != 0)
    if result != 0:
        assert re.fullmatch("[ -~]{5,120}[.]", response["X-Result-Detail"])
    assert "Retry-After" not in response


def test_any_allowed_key_and_value_come_back_code_point_for_code_point(post: Any, stored: Any) -> None:
    @examples(100)
    @given(keys, values, st.booleans())
    def check(key: str, value: str, escaped: bool) -> None:
        stored.all().delete()

        response = post(json.dumps({"value_key": key, "value_data": value}, ensure_ascii=escaped).encode(), GOOD)

        assert response.content == b'{"result": 0}'
        assert stored.values_list("owner_id", "key", "value", "app", "revision").get() == (USER, key, value, APP, 1)

    check()


def test_keys_are_the_same_only_code_point_for_code_point(post: Any, stored: Any) -> None:
    @examples(25)
    @given(st.lists(st.text(st.sampled_from([*ODD[:40], *"Aa"]), min_size=1, max_size=3), max_size=12))
    def check(several: list[str]) -> None:
        stored.all().delete()

        for number, key in enumerate(several):
            assert post({"value_key": key, "value_data": str(number)}, GOOD).content == b'{"result": 0}'

        last = {key: str(number) for number, key in enumerate(several)}
        assert dict(stored.values_list("key", "value")) == last
        assert stored.count() == len(last)

    check()


def test_any_sequence_of_writes_leaves_what_the_contract_says(post: Any, stored: Any) -> None:
    users, apps = ["user 1", "user 2"], ["app 1", "app 2", "app 3"]
    bearers = {(u, a): token(sub=u, azp=a, exp=int(time.time()) + 3600) for u in users for a in apps}
    write = st.tuples(st.sampled_from(users), st.sampled_from(apps), st.sampled_from("abc"), values)

    @examples(25)
    @given(st.lists(write, max_size=15))
    def check(writes: list[tuple[str, str, str, str]]) -> None:
        stored.all().delete()
        model: dict[tuple[str, str], tuple[str, str, int]] = {}

        for user, app, key, value in writes:
            owner, _, revision = model.get((user, key), (app, "", 0))
            response = post({"value_key": key, "value_data": value}, bearers[user, app])
            assert response.content == (b'{"result": 0}' if owner == app else b'{"result": -6}')
            if owner == app:
                model[user, key] = app, value, revision + 1

        rows = stored.values_list("owner_id", "key", "app", "value", "revision")
        assert {(user, key): rest for user, key, *rest in rows} == {place: list(row) for place, row in model.items()}

    check()


def test_any_json_gets_the_documented_answer(post: Any, stored: Any) -> None:
    @examples(200)
    @given(likely_bodies | any_json, st.sampled_from(list(BEARERS)), st.booleans())
    def check(value: Any, bearer: str | None, escaped: bool) -> None:
        stored.all().delete()
        body = json.dumps(value, ensure_ascii=escaped).encode(errors="surrogatepass")
        result, echo = expected(body)
        result = BEARERS[bearer] or result

        response = post(body, bearer)

        assert response.content == answer(result, echo)
        assert_well_formed(response, 200, result)
        rows = list(stored.values_list("key", "value"))
        assert rows == ([(value["value_key"], value["value_data"])] if result == 0 else [])

    check()


def test_any_bytes_get_the_documented_answer(post: Any, stored: Any) -> None:
    whole = json.dumps(BODY | {"request_id": 7}).encode()

    @st.composite
    def damaged(draw: st.DrawFn) -> bytes:
        """A good body with some bytes replaced by others."""
        start = draw(st.integers(0, len(whole)))
        end = draw(st.integers(start, min(len(whole), start + 4)))
        other = draw(st.binary(max_size=4) | st.sampled_from([b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"1e9", b'"']))
        return whole[:start] + other + whole[end:]

    @examples(200)
    @given(st.binary(min_size=1, max_size=300) | damaged())
    def check(body: bytes) -> None:
        stored.all().delete()
        result, echo = expected(body)

        response = post(body, GOOD)

        assert response.content == answer(result, echo)
        assert_well_formed(response, 200, result)
        assert stored.count() == (1 if result == 0 else 0)

    check()


def test_any_body_over_the_limit_gets_413_and_no_other(post: Any, stored: Any, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100

    @examples(40)
    @given(st.integers(0, 200), st.sampled_from(list(BEARERS)))
    def check(size: int, bearer: str | None) -> None:
        stored.all().delete()
        body = b'{"value_key": "k", "value_data": "v"}'.ljust(size)
        result = -5 if len(body) > 100 else BEARERS[bearer]

        response = post(body, bearer)

        assert response.content == answer(result, None)
        assert_well_formed(response, 413 if len(body) > 100 else 200, result)
        assert stored.count() == (1 if result == 0 else 0)

    check()


def test_any_authorization_header_that_bears_no_token_is_refused(post: Any, stored: Any) -> None:
    text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
    header = text | st.tuples(st.sampled_from(["Bearer", "bearer ", "BEARER  "]), text).map("".join)

    @examples(100)
    @given(header)
    def check(header: str) -> None:
        response = post(BODY | {"request_id": 7}, None, Authorization=header)

        assert response.content == b'{"request_id": 7, "result": -1}'
        assert_well_formed(response, 200, -1)
        assert response["WWW-Authenticate"].startswith("Bearer")
        assert not stored.exists()

    check()
