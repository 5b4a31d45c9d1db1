"""Which tokens are accepted: every rule that needs no network, and the known attacks on JWT."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import BODY
from tests.tokens import ABSENT, APP, EC_KEYS, ED_KEY, ISSUER, OTHER_RSA_KEY, RSA_KEY, USER, claims, public_pem, token
from userdata import configuration
from userdata.authentication import AccessTokenAuthentication
from userdata.exceptions import Failure
from userdata.tokens import VerifiedTokens, backend

SECRET = "a shared secret of more than 64 bytes, " * 2
NOW = int(time.time())
LEEWAY = 30


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, payload: Any, alg: str = "RS256", key: Any = RSA_KEY) -> str:
    """A token with a good signature over any two segments whatever."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    algorithm = jwt.get_algorithm_by_name(alg)
    return f"{signing_input}.{segment(algorithm.sign(signing_input.encode(), algorithm.prepare_key(key)))}"


HEADER = {"alg": "RS256", "typ": "JWT", "kid": "key-1"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"aud": "anything"}, id="an audience where none is configured"),
        pytest.param({"azp": ABSENT, "client_id": APP}, id="client_id for azp"),
        pytest.param({"scope": ABSENT, "scp": "email user-data-set"}, id="scp as a string"),
        pytest.param({"scope": ABSENT, "scp": ["email", "user-data-set"]}, id="scp as an array"),
        pytest.param({"exp": NOW + 3600.5}, id="a fraction of a second"),
        pytest.param({"email": 7, "jti": [], "aud": None}, id="odd claims that nobody reads"),
        pytest.param({"sub": "s" * 255, "azp": "a" * 255}, id="names of 255 characters"),
        pytest.param({"is_staff": True, "is_superuser": True}, id="claims that make nobody staff"),
    ],
)
def test_it_accepts(post: Any, change: dict[str, Any]) -> None:
    assert post(bearer=token(**change)).json() == {"result": 0}


@pytest.mark.parametrize(
    ("claim", "seconds", "result"),
    [
        ("exp", -LEEWAY + 10, 0),
        ("exp", -LEEWAY - 10, -2),
        ("nbf", LEEWAY - 10, 0),
        ("nbf", LEEWAY + 10, -1),
        ("iat", LEEWAY - 10, 0),
        ("iat", LEEWAY + 10, -1),
    ],
)
def test_clocks_may_differ_by_the_leeway(post: Any, stored: Any, claim: str, seconds: int, result: int) -> None:
    assert post(bearer=token(**{claim: time.time() + seconds})).json() == {"result": result}
    assert stored.exists() == (result == 0)


@pytest.mark.parametrize(
    ("typ", "payload_typ", "result"),
    [
        ("JWT", "Bearer", 0),
        ("jwt", "Bearer", 0),
        (ABSENT, "Bearer", 0),
        ("at+jwt", ABSENT, 0),
        ("AT+JWT", ABSENT, 0),
        ("application/at+jwt", ABSENT, 0),
        ("at+jwt", "Bearer", 0),
        ("JWT", ABSENT, -1),
        (ABSENT, ABSENT, -1),
        ("JWT", "ID", -1),
        ("JWT", "Refresh", -1),
        ("JWT", "Offline", -1),
        ("JWT", "Logout", -1),
        ("JWT", "bearer", -1),
        ("JWT", ["Bearer"], -1),
        ("at+jwt", "ID", -1),
        ("logout+jwt", "Bearer", -1),
        ("dpop+jwt", "Bearer", -1),
        (7, "Bearer", -1),
    ],
)
def test_only_access_tokens_are_accepted(post: Any, stored: Any, typ: Any, payload_typ: Any, result: int) -> None:
    header = {name: value for name, value in (HEADER | {"typ": typ}).items() if value is not ABSENT}

    assert post(bearer=signed(header, claims(typ=payload_typ))).json() == {"result": result}
    assert stored.exists() == (result == 0)


@pytest.mark.parametrize("name", ["iss", "exp", "sub", "azp"])
@pytest.mark.parametrize(
    "value", [ABSENT, None, "", [], {}, True, "\ud800", "a\nb", "a\x9fb", "x" * 256, 1e300, -1, 10**400]
)
def test_a_required_claim_that_is_missing_or_absurd_is_refused(post: Any, stored: Any, name: str, value: Any) -> None:
    assert post(bearer=signed(HEADER, claims(**{name: value}))).json() == {"result": -1}
    assert not stored.exists()


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"1" * 5000])
@pytest.mark.parametrize("name", [b"exp", b"nbf", b"iat"])
def test_a_time_out_of_all_bounds_is_refused(post: Any, stored: Any, name: bytes, number: bytes) -> None:
    payload = json.dumps(claims(exp=ABSENT, iat=ABSENT)).encode()[:-1] + b', "%s": %s}' % (name, number)

    assert post(bearer=signed(HEADER, payload)).json() == {"result": -1}
    assert not stored.exists()


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"exp": NOW - LEEWAY - 300}, -2),
        ({"exp": 0}, -2),
        ({"nbf": NOW + LEEWAY + 300}, -1),
        ({"iat": NOW + LEEWAY + 300}, -1),
        ({"nbf": NOW + LEEWAY + 300, "exp": NOW - LEEWAY - 300}, -1),
        ({"sub": ABSENT, "exp": 0}, -1),
        ({"typ": "ID", "exp": 0}, -1),
        ({"iss": f"{ISSUER}/"}, -1),
        ({"iss": ISSUER.upper()}, -1),
        ({"scope": "email user-data-sets"}, -3),
        ({"scope": "EMAIL USER-DATA-SET"}, -3),
        ({"scope": "email,user-data-set"}, -3),
        ({"scope": "email\tuser-data-set"}, -3),
        ({"scope": ["email", "user-data-set"]}, -3),
        ({"scope": ABSENT, "scp": ["email user-data-set"]}, -3),
        ({"scope": ABSENT, "scp": [["email"], 7]}, -3),
        ({"scope": ABSENT, "scp": {"email": 1, "user-data-set": 1}}, -3),
    ],
)
def test_it_refuses(post: Any, stored: Any, change: dict[str, Any], result: int) -> None:
    assert post(BODY | {"request_id": 7}, token(**change)).json() == {"request_id": 7, "result": result}
    assert not stored.exists()


@pytest.mark.parametrize(
    ("audience", "result"),
    [("user-data", 0), (["other", "user-data"], 0), ("other", -1), ([], -1), (ABSENT, -1), ([["user-data"]], -1)],
)
def test_the_audience_is_checked_where_it_is_configured(
    post: Any, stored: Any, trust: Any, audience: Any, result: int
) -> None:
    trust(JWT_AUDIENCE="user-data")

    assert post(bearer=token(aud=audience)).json() == {"result": result}
    assert stored.exists() == (result == 0)


def tampered() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{segment(claims(sub='someone-else'))}.{signature}"


def self_made_hs256() -> str:
    """HS256 with the public key as the secret: for a service that lets the token choose the family."""
    signing_input = f"{segment(HEADER | {'alg': 'HS256'})}.{segment(claims())}"
    mac = hmac.digest(public_pem(RSA_KEY).encode(), signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{segment(mac)}"


def own_jwk() -> dict[str, Any]:
    return json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA_KEY.public_key()))  # type: ignore[no-any-return]


ATTACKS = {
    "alg none": f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment(claims())}.",
    "alg None": f"{segment({'alg': 'None', 'typ': 'JWT'})}.{segment(claims())}.AA",
    "HS256 signed with the public key": self_made_hs256(),
    "no signature": token().rpartition(".")[0] + ".",
    "another key": token(key=OTHER_RSA_KEY),
    "another algorithm of the same key": token(alg="RS384"),
    "PSS in place of PKCS 1": token(alg="PS256"),
    "an EC token for an RSA key": token(key=EC_KEYS["ES256"], alg="ES256"),
    "an RSA header over an EC signature": signed(HEADER, claims(), "ES256", EC_KEYS["ES256"]),
    "tampered claims": tampered(),
    "a zero EC signature": f"{segment(HEADER | {'alg': 'ES256'})}.{segment(claims())}.{segment(bytes(64))}",
    "its own key in jwk": token(key=OTHER_RSA_KEY, headers={"jwk": own_jwk()}),
    "its own key at jku": token(key=OTHER_RSA_KEY, headers={"jku": "https://evil.example/jwks"}),
    "its own key at x5u": token(key=OTHER_RSA_KEY, headers={"x5u": "https://evil.example/x5u", "x5c": ["MII="]}),
    "kid as a path": token(key=OTHER_RSA_KEY, headers={"kid": "../../../../dev/null"}),
    "kid as SQL": token(key=OTHER_RSA_KEY, headers={"kid": "' UNION SELECT 'secret' --"}),
    "kid as a list": signed(HEADER | {"kid": ["key-1"]}, claims()),
    "crit": signed(HEADER | {"crit": ["exp"], "exp": NOW + 300}, claims()),
    "b64 false": signed(HEADER | {"b64": False, "crit": ["b64"]}, claims()),
    "alg as a list": signed(HEADER | {"alg": ["RS256"]}, claims()),
    "alg twice": signed(b'{"alg": "none", "alg": "RS256", "typ": "JWT"}', claims()),
    "a claim twice": signed(HEADER, json.dumps(claims()).encode()[:-1] + b', "sub": "someone else"}'),
    "claims that are a list": signed(HEADER, [claims()]),
    "claims that are a string": signed(HEADER, json.dumps(claims())),
    "claims that are no JSON": signed(HEADER, b"\xff{}"),
    "a header that is a list": signed(["RS256"], claims()),
    "a nested token": signed(HEADER | {"cty": "JWT"}, token().encode()),
    "an encrypted token": ".".join([segment({"alg": "RSA-OAEP", "enc": "A256GCM"}), "AAAA", "AAAA", "AAAA", "AAAA"]),
    "an oversized token": token(email="x" * 20_000),
    "deeply nested claims": signed(HEADER, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "deeply nested header": signed(b"[" * 5000 + b"]" * 5000, claims()),
    "padding": token() + "=",
    "a line end": token().replace(".", ".\n", 1),
    "the other base64": token().replace(".", "+/.", 1),
    "one segment": "abc",
    "empty segments": "..",
    "two tokens": f"{token()} {token()}",
    "not ASCII": "\u00e9.\u00e9.\u00e9",
    "quotes": '"' + token() + '"',
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_a_token_that_is_invalid(post: Any, stored: Any, attack: str) -> None:
    response = post(BODY | {"request_id": 7}, attack)

    assert (response.status_code, response.json()) == (200, {"request_id": 7, "result": -1})
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not stored.exists()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_matched_without_regard_to_case(post: Any, scheme: str) -> None:
    assert post(bearer=None, Authorization=f"{scheme} {token()}").json() == {"result": 0}


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "", "Token abc"])
def test_a_header_without_a_bearer_token_is_refused(post: Any, stored: Any, header: str) -> None:
    assert post(bearer=None, Authorization=header).json() == {"result": -1}
    assert not stored.exists()


FAMILIES = {
    **{alg: (SECRET, SECRET, alg) for alg in ("HS256", "HS384", "HS512")},
    **{alg: (RSA_KEY, "", alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    **{alg: (key, "", alg) for alg, key in EC_KEYS.items()},
    "EdDSA": (ED_KEY, "", "EdDSA"),
}


@pytest.mark.parametrize(("key", "secret", "alg"), FAMILIES.values(), ids=FAMILIES.keys())
def test_each_algorithm_verifies_with_its_kind_of_key(post: Any, trust: Any, key: Any, secret: str, alg: str) -> None:
    trust(JWT_SECRET=secret, JWT_PUBLIC_KEY="" if secret else public_pem(key), JWT_ALGORITHMS=[alg])

    assert post(bearer=token(key=key, alg=alg)).json() == {"result": 0}
    assert post(bearer=token(key=key, alg=alg, exp=NOW - 3600)).json() == {"result": -2}
    assert post(bearer=token(key=key, alg=alg)[:-8] + "AAAAAAAA").json() == {"result": -1}
    if alg != "RS256":
        assert post(bearer=token()).json() == {"result": -1}


def test_several_algorithms_of_one_family_may_be_allowed(post: Any, trust: Any) -> None:
    trust(JWT_PUBLIC_KEY=public_pem(RSA_KEY), JWT_ALGORITHMS=["RS256", "PS512"])

    assert [post(bearer=token(alg=alg)).json()["result"] for alg in ("RS256", "PS512", "RS512")] == [0, 0, -1]


def test_the_algorithm_follows_from_the_key_where_none_is_configured(trust: Any) -> None:
    chosen = []
    for change in (
        {"JWT_SECRET": SECRET},
        {"JWT_PUBLIC_KEY": public_pem(RSA_KEY)},
        *({"JWT_PUBLIC_KEY": public_pem(key)} for key in (*EC_KEYS.values(), ED_KEY)),
    ):
        trust(**({"JWT_SECRET": ""} | change))
        chosen.append(configuration.algorithms())
    assert chosen == [["HS256"], ["RS256"], ["ES256"], ["ES384"], ["ES512"], ["EdDSA"]]


def test_a_certificate_gives_its_key(post: Any, trust: Any) -> None:
    import datetime

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, RSA_KEY.public_key(), 7, today, today + datetime.timedelta(days=1))
        .sign(RSA_KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    trust(JWT_PUBLIC_KEY=certificate)

    assert post(bearer=token()).json() == {"result": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"JWT_SECRET": "s" * 31},
        {"JWT_SECRET": SECRET, "JWT_ALGORITHMS": ["HS256", "RS256"]},
        {"JWT_SECRET": SECRET, "JWT_ALGORITHMS": ["RS256"]},
        {"JWT_PUBLIC_KEY": public_pem(RSA_KEY), "JWT_ALGORITHMS": ["HS256"]},
        {"JWT_PUBLIC_KEY": public_pem(RSA_KEY), "JWT_ALGORITHMS": ["none"]},
        {"JWT_PUBLIC_KEY": public_pem(EC_KEYS["ES256"]), "JWT_ALGORITHMS": ["ES384"]},
        {"JWT_PUBLIC_KEY": "not a key"},
        {"JWT_PUBLIC_KEY": public_pem(RSA_KEY), "JWT_SECRET": SECRET},
    ],
)
def test_a_configuration_that_is_unsafe_is_refused(trust: Any, change: dict[str, Any]) -> None:
    trust(**change)

    with pytest.raises(ImproperlyConfigured):
        configuration.algorithms(), configuration.key_source()


def test_a_verified_token_is_remembered_but_its_time_is_not(post: Any, trust: Any, monkeypatch: Any) -> None:
    trust(JWT_LEEWAY_SECONDS=0)
    seen = []
    decode = type(backend()).decode
    monkeypatch.setattr(
        type(backend()), "decode", lambda self, *args, **kwargs: seen.append(args) or decode(self, *args, **kwargs)
    )
    bearer = token(exp=time.time() + 1.5)

    assert [post(bearer=bearer).json()["result"] for _ in range(3)] == [0, 0, 0]
    assert len(seen) == 1
    time.sleep(1.6)
    assert post(bearer=bearer).json() == {"result": -2}


def test_remembered_tokens_are_bounded_and_dropped_when_the_keys_change(post: Any) -> None:
    verified = VerifiedTokens(size=3)
    for number in range(5):
        verified.get(token(jti=str(number)).encode())
    assert len(verified._verified) == 3

    bearer = token().encode()
    verified.get(bearer)
    backend().keys.generation += 1  # type: ignore[misc, attr-defined]
    verified.get(bearer)
    assert len(verified._verified) == 1


def test_a_token_that_was_refused_is_not_remembered() -> None:
    verified = VerifiedTokens()
    for bad in (token(key=OTHER_RSA_KEY), token(exp=0), token(iss="x"), "abc"):
        with pytest.raises(Exception, match=r"(?i)token"):
            verified.get(bad.encode())
    assert not verified._verified


# --- Fuzzing: whatever is signed, the answer is documented ---------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([1e300, 10**400, -1, "Bearer", ISSUER, USER, "email user-data-set", NOW + 300, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
claim_names = st.sampled_from(
    ["iss", "sub", "typ", "azp", "client_id", "scope", "scp", "exp", "nbf", "iat", "aud", "email"]
)
header_names = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "cty", "jwk", "jku", "x5c", "enc", "zip"])
fuzzing = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def outcome(bearer: bytes) -> str:
    class Request:
        META = {"HTTP_AUTHORIZATION": b"Bearer " + bearer}

    try:
        principal, _ = AccessTokenAuthentication().authenticate(Request())  # type: ignore[arg-type]
    except Failure as failure:
        return failure.outcome.name
    return "ACCESS_DENIED" if not {"email", "user-data-set"} <= principal.scopes else "SUCCESS"


@fuzzing
@given(st.dictionaries(claim_names, json_values, min_size=1, max_size=3))
def test_signed_claims_of_any_kind_get_a_documented_answer(changes: dict[str, Any]) -> None:
    bearer = signed(HEADER, claims(**changes)).encode()

    harmless = {"aud", "email", "client_id", "scp", "nbf", "iat"} >= changes.keys()
    result = outcome(bearer)
    assert result in {"TOKEN_INVALID", "TOKEN_EXPIRED", "ACCESS_DENIED"} or harmless or is_good(claims(**changes))


def is_good(payload: dict[str, Any]) -> bool:
    """What may be accepted, written down apart from the code that decides it."""
    return (
        payload["iss"] == ISSUER
        and isinstance(payload["sub"], str)
        and isinstance(payload["azp"], str)
        and payload["typ"] == "Bearer"
        and {"email", "user-data-set"} <= set(payload["scope"].split(" "))
        and payload["exp"] > NOW - LEEWAY
    )


@fuzzing
@given(st.dictionaries(header_names, json_values, min_size=1, max_size=3))
def test_signed_headers_of_any_kind_get_a_documented_answer(changes: dict[str, Any]) -> None:
    harmless = {"kid", "cty", "jwk", "jku", "x5c", "enc", "zip", "b64"} >= changes.keys()
    assert outcome(signed(HEADER | changes, claims()).encode()) == "TOKEN_INVALID" or harmless


@fuzzing
@given(st.integers(0, 2), st.binary(max_size=60))
def test_segments_of_any_bytes_are_no_token(place: int, junk: bytes) -> None:
    segments = token().encode().split(b".")
    for piece in (junk, segment(junk).encode()):
        replaced = [*segments[:place], piece, *segments[place + 1 :]]
        assert outcome(b".".join(replaced)) == "TOKEN_INVALID"


@fuzzing
@given(st.binary(max_size=200))
def test_any_bytes_are_no_token(junk: bytes) -> None:
    assert outcome(junk) == "TOKEN_INVALID"
