"""An access token: what makes one good, on top of simplejwt's token and backend.

The rules are those of RFC 8725 (JWT best practice) and RFC 9068 (JWT access tokens), and of the
tokens that Keycloak issues.
"""

import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, lru_cache
from hashlib import sha256
from threading import Lock
from typing import Any

import jwt
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenBackendError, TokenError
from rest_framework_simplejwt.tokens import Token

from userdata.keys import KeyNotFound, KeySource
from userdata.text import CONTROL, refuse_constant

MAX_TOKEN_BYTES = 16_384
MAX_VERIFIED_TOKENS = 10_000
LATEST_TIME = 253_402_300_799  # the end of the year 9999

_compact = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request speaks for: the user and the app, as the token names them, and nothing more."""

    sub: str
    app: str
    scopes: frozenset[str]
    email: str | None

    # What DRF asks of a user.
    is_authenticated = True


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token whose signature and claims hold says, and from when until when, in seconds since 1970."""

    principal: Principal
    begins: float
    expires: float

    def check_time(self, leeway: float) -> None:
        """Raises `ExpiredTokenError`, or `TokenError` where it is too early."""
        now = time.time()
        if now < self.begins - leeway:
            raise TokenError("The token is not valid yet.")
        if now >= self.expires + leeway:
            raise ExpiredTokenError("The token has expired.")


class AccessTokenBackend(TokenBackend):
    """Checks a token's form, algorithm, key and signature.

    Unlike simplejwt's it takes a list of algorithms and any source of keys, and leaves the claims
    to `AccessToken`: an expired token has to be told from one that is wrong in other ways too.
    """

    def __init__(self, keys: KeySource, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms[0])
        self.keys = keys
        self.algorithms = frozenset(algorithms)

    def decode(self, token: bytes, verify: bool = True) -> dict[str, Any]:  # type: ignore[override]
        """The claims. Raises `TokenBackendError`, or `KeysUnavailable` where nothing can be said now."""
        if len(token) > MAX_TOKEN_BYTES or not _compact.fullmatch(token):
            raise TokenBackendError("The token is not a signed JWT.")
        signing_input, _, signature = token.rpartition(b".")
        header_segment, _, payload_segment = signing_input.partition(b".")
        header = _header(header_segment)
        alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if type(alg) is not str or alg not in self.algorithms:
            raise TokenBackendError("The token's algorithm is not accepted.")
        if type(typ) is not str or typ.lower() not in {"jwt", "at+jwt", "application/at+jwt"}:
            raise TokenBackendError("The token is not an access token.")
        if "crit" in header or not (kid is None or type(kid) is str):
            raise TokenBackendError("The token's header asks for what is not understood.")
        try:
            key = self.keys.find(kid, alg)
        except KeyNotFound as cause:
            raise TokenBackendError("The token's key is not known.") from cause
        # The algorithm alone, as PyJWT's own way there goes over every character of the token twice.
        if not jwt.get_algorithm_by_name(alg).verify(signing_input, key, _bytes(signature, "signature")):
            raise TokenBackendError("The token's signature does not verify.")
        claims = _object(payload_segment, "payload")
        # RFC 9068 §2.1: a header of its own marks an access token; Keycloak marks it in the payload.
        if claims.get("typ", "Bearer" if typ.lower() != "jwt" else None) != "Bearer":
            raise TokenBackendError("The token is not an access token.")
        return claims


class AccessToken(Token):
    """A provider's access token; wrong ones raise `TokenError`, expired ones `ExpiredTokenError`."""

    token_type = "Bearer"
    lifetime = timedelta(hours=1)
    verified: Verified

    def get_token_backend(self) -> AccessTokenBackend:
        return backend()

    def verify(self) -> None:
        claims = self.payload
        if claims.get("iss") != settings.JWT_ISSUER:
            raise TokenError("The token is from another issuer.")
        if settings.JWT_AUDIENCE:
            audience = claims.get("aud")
            if settings.JWT_AUDIENCE not in (audience if type(audience) is list else [audience]):
                raise TokenError("The token is for another audience.")
        expires = _time(claims, "exp")
        if expires is None:
            raise TokenError("The token's exp is missing.")
        begins = max(_time(claims, "nbf") or 0, _time(claims, "iat") or 0)
        app = _name(claims, "azp" if "azp" in claims else "client_id")
        email = claims.get("email")
        principal = Principal(_name(claims, "sub"), app, _scopes(claims), email if type(email) is str else None)
        self.verified = Verified(principal, begins, expires)
        self.verified.check_time(settings.JWT_LEEWAY_SECONDS)


class VerifiedTokens:
    """The outcome of signature checks, so that a token that comes again need not be checked again.

    Holds at most `size` tokens, each by its digest, and none across a change of keys.
    """

    def __init__(self, size: int = MAX_VERIFIED_TOKENS) -> None:
        self._size = size
        self._generation = 0
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()
        self._adding = Lock()

    def get(self, token: bytes) -> Verified:
        """What the token says. Raises what `AccessToken` does, for its time at every use."""
        keys = backend().keys
        generation = keys.generation
        if generation != self._generation:
            self._verified, self._generation = OrderedDict(), generation
        known = self._verified
        digest = sha256(token).digest()
        if found := known.get(digest):
            found.check_time(settings.JWT_LEEWAY_SECONDS)
            return found
        verified = AccessToken(token).verified  # type: ignore[arg-type]
        with self._adding:
            # Added to the set that was there before the check: a change of keys meanwhile has dropped it.
            if len(known) >= self._size:
                known.popitem(last=False)
            known[digest] = verified
        return verified


@cache
def backend() -> AccessTokenBackend:
    """The process's one backend, over the keys that the settings name."""
    from userdata.configuration import algorithms, key_source

    return AccessTokenBackend(key_source(), algorithms())


def _object(segment: bytes, name: str) -> dict[str, Any]:
    """A segment's JSON object; names that stand twice are refused (RFC 7519 §4)."""
    try:
        value = _decoder.decode(_bytes(segment, name).decode())
    except (ValueError, RecursionError) as cause:
        raise TokenBackendError(f"The token's {name} is malformed.") from cause
    if type(value) is not dict:
        raise TokenBackendError(f"The token's {name} is malformed.")
    return value


@lru_cache(maxsize=64)
def _header(segment: bytes) -> Mapping[str, Any]:
    """The tokens of one key all begin alike."""
    return _object(segment, "header")


def _bytes(segment: bytes, name: str) -> bytes:
    """A segment decoded; one that encodes its bytes in a form of its own is refused (RFC 4648 §3.5)."""
    try:
        value = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except NotBase64 as cause:
        raise TokenBackendError(f"The token's {name} is malformed.") from cause
    if urlsafe_b64encode(value).rstrip(b"=") != segment:
        raise TokenBackendError(f"The token's {name} is malformed.")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


_decoder = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=refuse_constant)


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= LATEST_TIME:
        raise TokenError(f"The token's {name} is not a time.")
    return float(value)


def _name(claims: dict[str, Any], name: str) -> str:
    """A claim that identifies: it becomes part of a row, so it has to fit one."""
    value = claims.get(name)
    if type(value) is not str or not 1 <= len(value) <= 255 or CONTROL.search(value) or not _is_unicode(value):
        raise TokenError(f"The token's {name} is missing or ill-formed.")
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """RFC 8693 §4.2's `scope`, or the `scp` of some providers."""
    value = claims.get("scope", claims.get("scp"))
    if type(value) is list:
        return frozenset(scope for scope in value if type(scope) is str) if "scope" not in claims else frozenset()
    return _split(value) if type(value) is str else frozenset()


@lru_cache(maxsize=256)
def _split(scopes: str) -> frozenset[str]:
    return frozenset(scopes.split(" "))
