"""What makes an access token good: RFC 8725 (JWT best practice), RFC 9068 (JWT access tokens), and Keycloak's ways."""

import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any, TypeVar

import jwt

from userdata.identity.keys import VerificationKey
from userdata.identity.principal import Principal, linked_accounts, plain_text, proven_wallet, verified_email
from userdata.text import refuse_constant

MAX_TOKEN_BYTES = 16_384
LATEST_TIME = 253_402_300_799  # the end of the year 9999

T = TypeVar("T")

_compact = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenRefused(Exception):
    """A token does not count; the text is one sentence that says why, and repeats nothing of the token."""


class TokenInvalid(TokenRefused):
    """It is wrong, or not valid yet."""


class TokenExpired(TokenRefused):
    """It has expired, and is good in all other ways."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says whose signature and claims hold, and from when until when, in seconds since 1970."""

    principal: Principal
    begins: float
    expires: float

    def check_time(self, leeway_seconds: float) -> None:
        """Raises `TokenExpired`, or `TokenInvalid` where it is too early."""
        now = time.time()
        if now < self.begins - leeway_seconds:
            raise TokenInvalid("The token is not valid yet.")
        if now >= self.expires + leeway_seconds:
            raise TokenExpired("The token has expired.")


async def verify_signature(
    token: bytes,
    algorithms: Collection[str],
    find_key: Callable[[str | None, str], Awaitable[VerificationKey | None]],
) -> Mapping[str, Any]:
    """The claims of an access token whose form, header and signature are good. Raises `TokenInvalid`."""
    if len(token) > MAX_TOKEN_BYTES or not _compact.fullmatch(token):
        raise TokenInvalid("The token is not a signed JWT.")
    signing_input, _, signature = token.rpartition(b".")
    header_segment, _, payload = signing_input.partition(b".")
    header = _header(header_segment)
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if type(alg) is not str or alg not in algorithms:
        raise TokenInvalid("The token's algorithm is not accepted.")
    if type(typ) is not str or typ.lower() not in {"jwt", "at+jwt", "application/at+jwt"}:
        raise TokenInvalid("The token is not an access token.")
    if "crit" in header or not (kid is None or type(kid) is str):
        raise TokenInvalid("The token's header asks for what is not understood.")
    key = await find_key(kid, alg)
    if key is None:
        raise TokenInvalid("The token's key is not known.")
    # The algorithm alone, as PyJWT's own way there goes over every character of the token twice.
    if not jwt.get_algorithm_by_name(alg).verify(signing_input, key, _decode(signature, "signature", bytes)):
        raise TokenInvalid("The token's signature does not verify.")
    claims = _decode(payload, "payload", _object)
    # RFC 9068 §2.1: a header of its own marks an access token; Keycloak marks it in the payload.
    if claims.get("typ", "Bearer" if typ.lower() != "jwt" else None) != "Bearer":
        raise TokenInvalid("The token is not an access token.")
    return claims


def read_claims(claims: Mapping[str, Any], issuer: str, audience: str, account_claims: Mapping[str, str]) -> Verified:
    """What the claims of an access token say, whatever the time. Raises `TokenInvalid`."""
    if claims.get("iss") != issuer:
        raise TokenInvalid("The token is from another issuer.")
    named = claims.get("aud")
    if audience and audience not in (named if type(named) is list else [named]):
        raise TokenInvalid("The token is for another audience.")
    expires = _time(claims, "exp")
    if expires is None:
        raise TokenInvalid("The token's exp is missing.")
    begins = max(_time(claims, "nbf") or 0, _time(claims, "iat") or 0)
    principal = Principal(
        app=_name(claims, "azp" if "azp" in claims else "client_id"),
        sub=_name(claims, "sub"),
        scopes=_scopes(claims),
        email=verified_email(claims),
        wallet=proven_wallet(claims),
        accounts=linked_accounts(claims, account_claims),
    )
    return Verified(principal, begins, expires)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None or (type(value) in (int, float) and 0 <= value <= LATEST_TIME):
        return value
    raise TokenInvalid(f"The token's {name} is not a time.")


def _name(claims: Mapping[str, Any], name: str) -> str:
    if value := plain_text(claims.get(name)):
        return value
    raise TokenInvalid(f"The token's {name} is missing or ill-formed.")


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """RFC 8693 §4.2's `scope`, or the `scp` of some providers."""
    value = claims.get("scope", claims.get("scp"))
    if type(value) is list and "scope" not in claims:
        return frozenset(scope for scope in value if type(scope) is str)
    return frozenset(value.split(" ")) if type(value) is str else frozenset()


@lru_cache(maxsize=64)
def _header(segment: bytes) -> Mapping[str, Any]:
    """The tokens of one key all begin alike."""
    return _decode(segment, "header", _object)


def _decode(segment: bytes, name: str, read: Callable[[bytes], T]) -> T:
    """What a segment holds; one that encodes it in another than the canonical form is refused (RFC 4648 §3.5)."""
    with suppress(ValueError, RecursionError):
        value = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
        if urlsafe_b64encode(value).rstrip(b"=") == segment:
            return read(value)
    raise TokenInvalid(f"The token's {name} is malformed.")


def _object(value: bytes) -> dict[str, Any]:
    document = _json.decode(value.decode())
    if type(document) is not dict:
        raise ValueError("not an object")
    return document


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")  # RFC 7519 §4
    return members


def _integer(digits: str) -> float:
    """Python refuses to read thousands of digits; in a claim that nobody reads they do no harm."""
    return int(digits) if len(digits) < 1000 else inf


_json = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=_integer, parse_constant=refuse_constant)
