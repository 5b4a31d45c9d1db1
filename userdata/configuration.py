"""Which keys and algorithms the settings name.

Raises `ImproperlyConfigured` with one sentence where they name none, or some that do not go together.
"""

import os
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from userdata import keys
from userdata.jwks import JWKS


@cache
def key_source() -> keys.KeySource:
    """The one source of verification keys."""
    named = [name for name in ("JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL") if getattr(settings, name)]
    if len(named) > 1:
        raise ImproperlyConfigured(f"{' and '.join(named)} are set; keys come from one of them.")
    if settings.JWT_SECRET:
        return keys.FixedKey(_secret())
    if settings.JWT_PUBLIC_KEY:
        return keys.FixedKey(_public_key())
    for name in ("JWT_JWKS_URL", "JWT_ISSUER"):
        if getattr(settings, name):
            _require_http(name)
            return _provider_keys()
    raise ImproperlyConfigured("JWT_ISSUER is not set: the service must know whose tokens to trust.")


@cache
def algorithms() -> list[str]:
    """The allow-list: as configured, or what the key is mostly used with."""
    named: list[str] = settings.JWT_ALGORITHMS
    key = _secret() if settings.JWT_SECRET else _public_key() if settings.JWT_PUBLIC_KEY else None
    if not named:
        return keys.default_algorithms(key) if key else ["RS256"]
    if unknown := [alg for alg in named if alg not in keys.SYMMETRIC | keys.ASYMMETRIC]:
        raise ImproperlyConfigured(f"JWT_ALGORITHMS names {', '.join(unknown)}, which this service does not accept.")
    if keys.mixed(named):
        raise ImproperlyConfigured("JWT_ALGORITHMS mixes HS algorithms with those of public keys; use one family.")
    if key is None and keys.SYMMETRIC.intersection(named):
        raise ImproperlyConfigured("JWT_ALGORITHMS names an HS algorithm, which needs JWT_SECRET.")
    if key is not None and (unfit := [alg for alg in named if not keys.fits(key, alg)]):
        raise ImproperlyConfigured(f"JWT_ALGORITHMS names {', '.join(unfit)}, which the configured key does not fit.")
    return named


def _provider_keys() -> JWKS:
    # The workers' common folder, where `hypersecureid.server` has made one.
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    try:
        return JWKS(
            url=settings.JWT_JWKS_URL or None,
            issuer=settings.JWT_ISSUER,
            algorithms=algorithms(),
            refresh_seconds=settings.JWT_JWKS_REFRESH_SECONDS,
            max_age_seconds=settings.JWT_JWKS_MAX_AGE_SECONDS,
            # Who names an http URL knows the network that it crosses; who names an issuer may not.
            plain_http=bool(settings.JWT_JWKS_URL),
            shared=Path(shared) if shared else None,
        )
    except ValueError as problem:
        raise ImproperlyConfigured(f"Keys can't be had from the provider: {problem}.") from problem


def _secret() -> bytes:
    secret = settings.JWT_SECRET.encode()
    if b"-----BEGIN" in secret:
        raise ImproperlyConfigured("JWT_SECRET is a key in PEM, which may be public; a public key is JWT_PUBLIC_KEY.")
    if len(secret) < keys.MIN_SECRET_BYTES:
        raise ImproperlyConfigured(f"JWT_SECRET must have at least {keys.MIN_SECRET_BYTES} bytes.")
    return bytes(secret)


def _public_key() -> keys.PublicKey:
    try:
        key = keys.read_public_key(settings.JWT_PUBLIC_KEY)
    except ValueError as problem:
        raise ImproperlyConfigured(f"JWT_PUBLIC_KEY can't be used: {problem}.") from problem
    if not keys.default_algorithms(key)[0]:
        raise ImproperlyConfigured("JWT_PUBLIC_KEY can't be used: RSA keys need 2048 bits, EC keys a NIST curve.")
    return key


def _require_http(name: str) -> None:
    try:
        url = urlsplit(getattr(settings, name))
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ImproperlyConfigured(f"{name} must be an http or https URL, since keys are read from it.")
