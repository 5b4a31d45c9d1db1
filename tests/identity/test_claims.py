"""Which claims make a good token, and with which sentence the others are refused."""

import json
from typing import Any

import pytest

from tests.identity.door import HEADER, LEEWAY, NOW, outcome, signed, verify
from tests.tokens import ABSENT, ISSUER, RSA_KEY, claims, public_pem, token

pytestmark = pytest.mark.usefixtures("clock")

EXPIRED = "expired: The token has expired."
EARLY = "The token is not valid yet."
ISSUER_WRONG = "The token is from another issuer."
NO_ACCESS_TOKEN = "The token is not an access token."


def ill_formed(name: str) -> str:
    return f"The token's {name} is missing or ill-formed."


def at(claim: str, time: int) -> str:
    changes: dict[str, Any] = {claim: time}
    return token(**changes)


def test_a_good_token_says_who_calls_and_for_how_long() -> None:
    verified = verify(token())

    assert (verified.principal.sub, verified.principal.app) == ("7b6ac1d4-6f0c-4f7e-9a57-1f3c3a1f6a0e", "demo-app")
    assert verified.principal.scopes == {"openid", "email", "user-data-set", "user-data-get"}
    assert verified.principal.is_authenticated is True
    assert (verified.begins, verified.expires) == (1_800_000_000, 1_800_000_300)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"aud": "anything"}, id="an audience where none is configured"),
        pytest.param({"exp": NOW + 3600.5}, id="a fraction of a second"),
        pytest.param({"nbf": None, "iat": None}, id="null for times that may be absent"),
        pytest.param({"nbf": 0, "iat": 0}, id="times long ago"),
        pytest.param({"exp": 253_402_300_799}, id="the end of the year 9999"),
        pytest.param({"email": 7, "jti": [], "aud": None, "scope": 7}, id="odd claims that prove nothing"),
        pytest.param({"sub": "s" * 255, "azp": "a" * 255}, id="names of 255 bytes"),
        pytest.param({"sub": "\u20ac" * 85}, id="85 characters of 3 bytes"),
        pytest.param({"is_staff": True, "is_superuser": True}, id="claims that make nobody staff"),
    ],
)
def test_it_accepts(change: dict[str, Any]) -> None:
    assert outcome(token(**change)) == "good"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"exp": NOW - LEEWAY - 1}, EXPIRED),
        ({"exp": 0}, EXPIRED),
        ({"exp": None}, "The token's exp is missing."),
        ({"nbf": NOW + LEEWAY + 1}, EARLY),
        ({"iat": NOW + LEEWAY + 1}, EARLY),
        ({"nbf": NOW + LEEWAY + 1, "exp": 0}, EARLY),
        ({"exp": 253_402_300_800}, "The token's exp is not a time."),
        ({"nbf": "soon"}, "The token's nbf is not a time."),
        ({"iat": True}, "The token's iat is not a time."),
        ({"iat": -1}, "The token's iat is not a time."),
        # Expired is said only of a token that is good in all other ways.
        ({"exp": 0, "sub": ABSENT}, ill_formed("sub")),
        ({"exp": 0, "azp": ABSENT}, ill_formed("client_id")),
        ({"exp": 0, "typ": "ID"}, NO_ACCESS_TOKEN),
        ({"exp": 0, "iss": "https://elsewhere.example"}, ISSUER_WRONG),
        ({"exp": 0, "nbf": []}, "The token's nbf is not a time."),
        ({"iss": f"{ISSUER}/"}, ISSUER_WRONG),
        ({"iss": ISSUER.upper()}, ISSUER_WRONG),
        ({"sub": "s" * 256}, ill_formed("sub")),
        ({"sub": "\u20ac" * 85 + "s"}, ill_formed("sub")),
        ({"azp": "\u00fc" * 128}, ill_formed("azp")),
        ({"azp": None, "client_id": "demo-app"}, ill_formed("azp")),
        ({"azp": ABSENT, "client_id": ""}, ill_formed("client_id")),
    ],
)
def test_it_refuses(change: dict[str, Any], sentence: str) -> None:
    assert outcome(token(**change)) == sentence


@pytest.mark.parametrize(
    ("claim", "seconds", "sentence"),
    [
        ("exp", -29, "good"),
        ("exp", -30, EXPIRED),
        ("nbf", 30, "good"),
        ("nbf", 31, EARLY),
        ("iat", 30, "good"),
        ("iat", 31, EARLY),
    ],
)
def test_clocks_may_differ_by_the_leeway(claim: str, seconds: int, sentence: str) -> None:
    assert outcome(at(claim, NOW + seconds), leeway_seconds=30) == sentence


@pytest.mark.parametrize(("claim", "seconds", "sentence"), [("exp", 0, EXPIRED), ("exp", 1, "good"), ("nbf", 1, EARLY)])
def test_without_a_leeway_it_is_to_the_second(claim: str, seconds: int, sentence: str) -> None:
    assert outcome(at(claim, NOW + seconds), leeway_seconds=0) == sentence


@pytest.mark.parametrize(
    ("typ", "payload_typ", "sentence"),
    [
        ("JWT", "Bearer", "good"),
        ("jwt", "Bearer", "good"),
        (ABSENT, "Bearer", "good"),
        ("at+jwt", ABSENT, "good"),
        ("AT+JWT", ABSENT, "good"),
        ("application/at+jwt", ABSENT, "good"),
        ("at+jwt", "Bearer", "good"),
        ("JWT", ABSENT, NO_ACCESS_TOKEN),
        (ABSENT, ABSENT, NO_ACCESS_TOKEN),
        ("JWT", None, NO_ACCESS_TOKEN),
        ("at+jwt", None, NO_ACCESS_TOKEN),
        ("JWT", "ID", NO_ACCESS_TOKEN),
        ("JWT", "Refresh", NO_ACCESS_TOKEN),
        ("JWT", "Offline", NO_ACCESS_TOKEN),
        ("JWT", "Logout", NO_ACCESS_TOKEN),
        ("JWT", "bearer", NO_ACCESS_TOKEN),
        ("JWT", ["Bearer"], NO_ACCESS_TOKEN),
        ("at+jwt", "ID", NO_ACCESS_TOKEN),
        ("logout+jwt", "Bearer", NO_ACCESS_TOKEN),
        ("dpop+jwt", "Bearer", NO_ACCESS_TOKEN),
        (7, "Bearer", NO_ACCESS_TOKEN),
        (None, "Bearer", NO_ACCESS_TOKEN),
    ],
)
def test_only_access_tokens_are_accepted(typ: Any, payload_typ: Any, sentence: str) -> None:
    header = {name: value for name, value in (HEADER | {"typ": typ}).items() if value is not ABSENT}

    assert outcome(signed(header, claims(typ=payload_typ))) == sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("iss", ISSUER_WRONG),
        ("exp", "The token's exp is not a time."),
        ("sub", ill_formed("sub")),
        ("azp", ill_formed("azp")),
    ],
)
@pytest.mark.parametrize(
    "value", ["", [], {}, [ISSUER], True, "\ud800", "a\nb", "a\x9fb", "x" * 256, 1e300, -1, 10**400]
)
def test_a_required_claim_that_is_absurd_is_refused(name: str, value: Any, sentence: str) -> None:
    assert outcome(signed(HEADER, claims(**{name: value}))) == sentence


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 5000, b"-" + b"1" * 5000])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_out_of_all_bounds_is_refused(name: str, number: bytes) -> None:
    payload = json.dumps(claims(**{name: ABSENT})).encode()[:-1] + b', "%s": %s}' % (name.encode(), number)

    assert outcome(signed(HEADER, payload)) == f"The token's {name} is not a time."


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_not_json_is_refused(constant: bytes) -> None:
    payload = json.dumps(claims()).encode()[:-1] + b', "other": %s}' % constant

    assert outcome(signed(HEADER, payload)) == "The token's payload is malformed."


@pytest.mark.parametrize(
    ("audience", "sentence"),
    [
        ("user-data", "good"),
        (["other", "user-data"], "good"),
        ("other", "The token is for another audience."),
        ("user-data-2", "The token is for another audience."),
        ([], "The token is for another audience."),
        (ABSENT, "The token is for another audience."),
        ([["user-data"]], "The token is for another audience."),
        ({"user-data": 1}, "The token is for another audience."),
    ],
)
def test_the_audience_is_checked_where_it_is_configured(audience: Any, sentence: str) -> None:
    assert outcome(token(aud=audience), audience="user-data") == sentence


@pytest.mark.parametrize(
    ("change", "app"),
    [
        ({"azp": "a1"}, "a1"),
        ({"azp": "a1", "client_id": "a2"}, "a1"),
        ({"azp": ABSENT, "client_id": "a2"}, "a2"),
    ],
)
def test_the_app_is_the_authorized_party(change: dict[str, Any], app: str) -> None:
    assert verify(token(**change)).principal.app == app


@pytest.mark.parametrize(
    ("change", "scopes"),
    [
        ({"scope": "email user-data-set"}, {"email", "user-data-set"}),
        ({"scope": ABSENT, "scp": "email user-data-set"}, {"email", "user-data-set"}),
        ({"scope": ABSENT, "scp": ["email", "user-data-set"]}, {"email", "user-data-set"}),
        ({"scope": "email", "scp": ["user-data-set"]}, {"email"}),
        ({"scope": "EMAIL user-data-sets"}, {"EMAIL", "user-data-sets"}),
        ({"scope": "email,user-data-set"}, {"email,user-data-set"}),
        ({"scope": "email\tuser-data-set"}, {"email\tuser-data-set"}),
        ({"scope": ["email", "user-data-set"]}, set()),
        ({"scope": ABSENT, "scp": ["email user-data-set"]}, {"email user-data-set"}),
        ({"scope": ABSENT, "scp": [["email"], 7]}, set()),
        ({"scope": ABSENT, "scp": {"email": 1, "user-data-set": 1}}, set()),
        ({"scope": ABSENT}, set()),
    ],
)
def test_scopes_are_taken_as_they_are_written(change: dict[str, Any], scopes: set[str]) -> None:
    assert verify(token(**change)).principal.scopes == scopes


def test_the_claims_of_a_token_are_not_read_before_its_signature() -> None:
    head, _, signature = token().split(".")

    assert outcome(f"{head}.AAAA.{signature}") == "The token's signature does not verify."
    assert outcome(token(exp=0, sub=ABSENT), public_key=public_pem(RSA_KEY)) == ill_formed("sub")
