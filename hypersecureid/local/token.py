"""`make -s token`: an access token such as a provider would issue, for the service that `make run` runs.

In the environment, SUB, CLIENT, SCOPE, EMAIL and TTL (seconds) say for whom, from which app, what for, with which
verified address and how long; CLAIMS is a JSON object of further claims, which win over the others.
"""

import json
import os
import sys
import time
import uuid
from typing import Any

import jwt

from hypersecureid.local import environment


def mint() -> str:
    """Raises `ValueError` with a sentence for a bad value, and where the service trusts keys that are not ours."""
    key, algorithm = _key()
    try:
        return jwt.encode(_claims(), key, algorithm)
    except (TypeError, NotImplementedError, jwt.PyJWTError) as problem:
        raise ValueError(f"No token can be signed with this: {str(problem).rstrip('.')}.") from problem


def _claims() -> dict[str, Any]:
    now = int(time.time())
    lifetime = os.environ.get("TTL") or "3600"
    if not lifetime.removeprefix("-").isdecimal():
        raise ValueError("TTL must be a number of seconds.")
    claims = {
        "iss": environment.value("JWT_ISSUER") or environment.ISSUER,
        "sub": os.environ.get("SUB") or str(uuid.uuid5(uuid.NAMESPACE_DNS, "developer.localhost")),
        "typ": "Bearer",
        "azp": os.environ.get("CLIENT") or "demo-app",
        "scope": os.environ.get("SCOPE", "openid email user-data-set user-data-get"),
        "iat": now,
        "exp": now + int(lifetime),
        "jti": str(uuid.uuid4()),
        "email": os.environ.get("EMAIL") or "developer@localhost",
        "email_verified": True,
    }
    if audience := environment.value("JWT_AUDIENCE"):
        claims["aud"] = audience
    return claims | _further_claims()


def _further_claims() -> dict[str, Any]:
    try:
        further = json.loads(os.environ.get("CLAIMS") or "{}")
    except ValueError:
        further = None
    if not isinstance(further, dict):
        raise ValueError('CLAIMS must be a JSON object, such as {"email_verified": false}.')
    return further


def _key() -> tuple[bytes, str]:
    """What signs, and by which algorithm."""
    algorithm = environment.value("JWT_ALGORITHMS").partition(",")[0].strip()
    if environment.is_set("JWT_SECRET"):
        return environment.value("JWT_SECRET").strip().encode(), algorithm or "HS256"
    if not environment.trusts_own_key():
        raise ValueError("The service trusts the keys of a provider, so only that provider can issue a token.")
    environment.make_key_pair()
    return environment.PRIVATE_KEY.read_bytes(), algorithm or "RS256"


if __name__ == "__main__":
    try:
        print(mint())
    except ValueError as problem:
        sys.exit(str(problem))
    except OSError as problem:
        sys.exit(f"Can't read or write {problem.filename}: {problem.strerror}.")
