"""Whatever is signed: a token is accepted exactly where it is good, as written down here apart from the code."""

import json
import math
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.identity.door import HEADER, LEEWAY, NOW, identity, outcome, segment, signed, verify
from tests.tokens import ABSENT, APP, ISSUER, USER, claims, token

pytestmark = pytest.mark.usefixtures("clock")

fuzzing = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
EDGES = [NOW, -1, 253_402_300_799, 253_402_300_800, 10**400, "s" * 255, "s" * 256, "\u20ac" * 85, "\u20ac" * 86]
WORDS = ["Bearer", "ID", ISSUER, f"{ISSUER}/", USER, APP, "email user-data-set", "a@b", "\ud800", "a\nb", "\x9f"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(EDGES)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = ["iss", "sub", "typ", "azp", "client_id", "scope", "scp", "exp", "nbf", "iat", "aud", "email"]
changed_claims = st.dictionaries(
    st.sampled_from(CLAIMS), values | st.just(ABSENT), min_size=1, max_size=3
) | st.dictionaries(st.sampled_from(["exp", "nbf", "iat"]), st.integers(NOW - 50, NOW + 50), min_size=1)
changed_headers = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "cty", "jwk", "jku", "x5c", "enc", "zip"]),
    values | st.sampled_from(["at+jwt", "jwt", "RS256", "none", "HS256"]),
    min_size=1,
    max_size=3,
)


def verdict(payload: dict[str, Any]) -> str:
    """'good', 'expired' or 'invalid': the rules of docs/identity.md, in other words than the code's."""
    if any(not math.isfinite(number) for number in floats_in(payload)):
        return "invalid"  # is written as NaN or Infinity, which is not JSON
    app = payload["azp"] if "azp" in payload else payload.get("client_id")
    times = [payload.get("nbf"), payload.get("iat"), payload.get("exp")]
    if (
        payload.get("iss") != "https://issuer.example/realms/HyperID"
        or payload.get("typ") != "Bearer"
        or not identifies(payload.get("sub"))
        or not identifies(app)
        or not all(time is None or is_time(time) for time in times)
        or times[2] is None
        or any(time is not None and time > 1_800_000_030 for time in times[:2])
    ):
        return "invalid"
    return "expired" if times[2] <= 1_799_999_970 else "good"


def identifies(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    printable = all(ord(each) >= 32 and not 127 <= ord(each) < 160 for each in name)
    return printable and "\ud800" not in name and 0 < len(name.encode()) <= 255


def is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_402_300_800


def floats_in(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [found for inner in (value.values() if isinstance(value, dict) else value) for found in floats_in(inner)]
    return [value] if isinstance(value, float) else []


def kind(sentence: str) -> str:
    return {"good": "good", "expired: The token has expired.": "expired"}.get(sentence, "invalid")


def test_signed_claims_of_any_kind_are_accepted_exactly_where_they_are_good() -> None:
    door, seen = identity(identity_providers=["telegram"]), set()

    @fuzzing
    @given(changed_claims)
    def judge(changes: dict[str, Any]) -> None:
        payload = claims(**changes)
        expected = verdict(payload)
        seen.add(expected)

        assert kind(outcome(signed(HEADER, payload), door)) == expected

    judge()
    assert seen == {"good", "expired", "invalid"}


def test_every_claim_is_accepted_with_each_value_at_the_edges_exactly_where_it_is_good() -> None:
    door = identity()
    for name, value in product(CLAIMS, [*EDGES, *WORDS, None, ABSENT]):
        payload = claims(**{"client_id": APP, name: value})
        assert kind(outcome(signed(HEADER, payload), door)) == verdict(payload), (name, value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "good"),
        ({"azp": ABSENT, "client_id": "a"}, "good"),
        ({"email": "\ud800", "scp": [], "telegram_user_id": 10**400}, "good"),
        ({"exp": NOW - LEEWAY}, "expired"),
        ({"exp": NOW - LEEWAY, "sub": ""}, "invalid"),
        ({"iss": None}, "invalid"),
        ({"azp": None}, "invalid"),
        ({"nbf": NOW + LEEWAY + 1}, "invalid"),
        ({"aud": [math.nan]}, "invalid"),
        ({"sub": "\u20ac" * 86}, "invalid"),
    ],
)
def test_the_verdict_that_tokens_are_held_against_is_right(changes: dict[str, Any], expected: str) -> None:
    assert verdict(claims(**changes)) == expected


@fuzzing
@given(st.dictionaries(st.sampled_from(["email", "email_verified", "wallet_address", "telegram_user_id"]), values))
def test_what_is_wrong_with_an_optional_claim_makes_no_token_invalid(changes: dict[str, Any]) -> None:
    payload = json.loads(json.dumps(claims(**changes)).replace("NaN", "0").replace("Infinity", "0"))

    principal = verify(signed(HEADER, payload), identity_providers=["telegram"]).principal

    assert (principal.sub, principal.app) == (USER, APP)
    for proven in (principal.email, principal.wallet, *principal.accounts.values()):
        assert proven is None or identifies(proven)
    if principal.email:
        assert payload["email_verified"] is True
        assert payload["email"].lower() == principal.email.lower()


@fuzzing
@given(changed_headers)
def test_signed_headers_of_any_kind_are_accepted_exactly_where_they_are_good(changes: dict[str, Any]) -> None:
    header = HEADER | changes
    good = (
        all(math.isfinite(number) for number in floats_in(header))
        and header["alg"] == "RS256"
        and isinstance(header["typ"], str)
        and header["typ"].casefold() in ("jwt", "at+jwt")
        and isinstance(header["kid"], str | None)
        and "crit" not in header
        and len(segment(header)) < 10_000
    )

    assert (outcome(signed(header, claims())) == "good") == good


@fuzzing
@given(st.integers(0, 2), st.binary(max_size=60))
def test_segments_of_any_bytes_are_no_token(place: int, junk: bytes) -> None:
    segments = token().encode().split(b".")
    for piece in (junk, segment(junk).encode()):
        replaced = [*segments[:place], piece, *segments[place + 1 :]]
        assert kind(outcome(b".".join(replaced))) == "invalid"


@fuzzing
@given(st.binary(max_size=200))
def test_any_bytes_are_no_token(junk: bytes) -> None:
    assert kind(outcome(junk)) == "invalid"
