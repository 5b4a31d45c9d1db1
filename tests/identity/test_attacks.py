"""The known attacks on JWT, and forms that no token has."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from tests.identity.door import HEADER, NOW, outcome, segment, signed
from tests.tokens import EC_KEYS, OTHER_RSA_KEY, RSA_KEY, claims, public_pem, token
from userdata.identity import KeysUnavailable, TokenExpired, TokenInvalid, TokenRefused

pytestmark = pytest.mark.usefixtures("clock")

FORM = "The token is not a signed JWT."
ALGORITHM = "The token's algorithm is not accepted."
SIGNATURE = "The token's signature does not verify."
HEADER_ASKS = "The token's header asks for what is not understood."


def malformed(name: str) -> str:
    return f"The token's {name} is malformed."


def self_made_hs256() -> str:
    """HS256 with the public key as the secret: for a service that lets the token choose the family."""
    signing_input = f"{segment(HEADER | {'alg': 'HS256'})}.{segment(claims())}"
    mac = hmac.digest(public_pem(RSA_KEY).encode(), signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{segment(mac)}"


def tampered() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{segment(claims(sub='someone-else'))}.{signature}"


def other_last_character() -> str:
    """The same bytes in another encoding: a signature of 256 bytes leaves four bits of its last character unused."""
    bearer = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return bearer[:-1] + alphabet[alphabet.index(bearer[-1]) + 1]


def own_jwk() -> Any:
    return json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA_KEY.public_key()))


ATTACKS = {
    "alg none": (lambda: f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment(claims())}.", FORM),
    "alg None": (lambda: f"{segment({'alg': 'None', 'typ': 'JWT'})}.{segment(claims())}.AA", ALGORITHM),
    "HS256 signed with the public key": (self_made_hs256, ALGORITHM),
    "no signature": (lambda: token().rpartition(".")[0] + ".", FORM),
    "another key": (lambda: token(key=OTHER_RSA_KEY), SIGNATURE),
    "another algorithm of the same key": (lambda: token(alg="RS384"), ALGORITHM),
    "PSS in place of PKCS 1": (lambda: token(alg="PS256"), ALGORITHM),
    "an EC token for an RSA key": (lambda: token(key=EC_KEYS["ES256"], alg="ES256"), ALGORITHM),
    "an RSA header over an EC signature": (lambda: signed(HEADER, claims(), "ES256", EC_KEYS["ES256"]), SIGNATURE),
    "tampered claims": (tampered, SIGNATURE),
    "a zero EC signature": (
        lambda: f"{segment(HEADER | {'alg': 'ES256'})}.{segment(claims())}.{segment(bytes(64))}",
        ALGORITHM,
    ),
    "its own key in jwk": (lambda: token(key=OTHER_RSA_KEY, headers={"jwk": own_jwk()}), SIGNATURE),
    "its own key at jku": (lambda: token(key=OTHER_RSA_KEY, headers={"jku": "https://evil.example/jwks"}), SIGNATURE),
    "its own key at x5u": (
        lambda: token(key=OTHER_RSA_KEY, headers={"x5u": "https://evil.example/x5u", "x5c": ["MII="]}),
        SIGNATURE,
    ),
    "kid as a path": (lambda: token(key=OTHER_RSA_KEY, headers={"kid": "../../../../dev/null"}), SIGNATURE),
    "kid as SQL": (lambda: token(key=OTHER_RSA_KEY, headers={"kid": "' UNION SELECT 'secret' --"}), SIGNATURE),
    "kid as a list": (lambda: signed(HEADER | {"kid": ["key-1"]}, claims()), HEADER_ASKS),
    "kid as a number": (lambda: signed(HEADER | {"kid": 1}, claims()), HEADER_ASKS),
    "crit": (lambda: signed(HEADER | {"crit": ["exp"], "exp": NOW + 300}, claims()), HEADER_ASKS),
    "b64 false": (lambda: signed(HEADER | {"b64": False, "crit": ["b64"]}, claims()), HEADER_ASKS),
    "alg as a list": (lambda: signed(HEADER | {"alg": ["RS256"]}, claims()), ALGORITHM),
    "no alg": (lambda: signed({"typ": "JWT"}, claims()), ALGORITHM),
    "alg twice": (lambda: signed(b'{"alg": "none", "alg": "RS256", "typ": "JWT"}', claims()), malformed("header")),
    "a claim twice": (
        lambda: signed(HEADER, json.dumps(claims()).encode()[:-1] + b', "sub": "someone else"}'),
        malformed("payload"),
    ),
    "claims that are a list": (lambda: signed(HEADER, [claims()]), malformed("payload")),
    "claims that are a string": (lambda: signed(HEADER, json.dumps(claims())), malformed("payload")),
    "claims that are not UTF-8": (lambda: signed(HEADER, b"\xff{}"), malformed("payload")),
    "claims in UTF-16": (lambda: signed(HEADER, json.dumps(claims()).encode("utf-16")), malformed("payload")),
    "a header that is a list": (lambda: signed(["RS256"], claims()), malformed("header")),
    "a nested token": (lambda: signed(HEADER | {"cty": "JWT"}, token().encode()), malformed("payload")),
    "an encrypted token": (
        lambda: ".".join([segment({"alg": "RSA-OAEP", "enc": "A256GCM"}), "AAAA", "AAAA", "AAAA", "AAAA"]),
        FORM,
    ),
    "deeply nested claims": (
        lambda: signed(HEADER, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        malformed("payload"),
    ),
    "deeply nested header": (lambda: signed(b"[" * 5000 + b"]" * 5000, claims()), malformed("header")),
    "another encoding of the signature": (other_last_character, malformed("signature")),
    "a signature of an impossible length": (lambda: token().rpartition(".")[0] + ".AAAAA", malformed("signature")),
    "padding": (lambda: token() + "=", FORM),
    "a line end": (lambda: token().replace(".", ".\n", 1), FORM),
    "a line end at the end": (lambda: token() + "\n", FORM),
    "the other base64": (lambda: token().replace(".", "+/.", 1), FORM),
    "one segment": (lambda: "abc", FORM),
    "empty segments": (lambda: "..", FORM),
    "nothing": (lambda: "", FORM),
    "two tokens": (lambda: f"{token()} {token()}", FORM),
    "not ASCII": (lambda: "\u00e9.\u00e9.\u00e9", FORM),
    "quotes": (lambda: '"' + token() + '"', FORM),
}


@pytest.mark.parametrize(("make", "sentence"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_a_token_that_is_invalid(make: Callable[[], str], sentence: str) -> None:
    assert outcome(make()) == sentence


def test_a_token_has_at_most_16_kib() -> None:
    filler = (16_384 - len(token(filler=""))) * 3 // 4
    longest, longer = token(filler="x" * filler), token(filler="x" * (filler + 6))

    assert 16_380 < len(longest) <= 16_384 < len(longer)
    assert outcome(longest) == "good"
    assert outcome(longer) == FORM


def test_expired_and_invalid_are_told_apart_and_are_both_refusals() -> None:
    assert TokenRefused in TokenInvalid.__bases__
    assert TokenRefused in TokenExpired.__bases__
    assert str(KeysUnavailable()) == "The keys that verify tokens can't be had now."
    assert not issubclass(KeysUnavailable, TokenRefused)
