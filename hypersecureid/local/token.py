"""`make -s token`: an access token such as a provider would issue, for the service that `make run` runs.

SUB, CLIENT, SCOPE and TTL (seconds) in the environment say for whom, from which app, what for and how long.
"""

import os
import sys
import time
import uuid
from pathlib import Path

import jwt

from hypersecureid.local import environment


def mint() -> str:
    """Raises `ValueError` with a sentence where the service trusts keys that are not ours."""
    now = int(time.time())
    lifetime = os.environ.get("TTL") or "3600"
    if not lifetime.removeprefix("-").isdecimal():
        raise ValueError("TTL must be a number of seconds.")
    subject = os.environ.get("SUB") or str(uuid.uuid5(uuid.NAMESPACE_DNS, "developer.localhost"))
    claims = {
        "iss": os.environ.get("JWT_ISSUER") or environment.ISSUER,
        "sub": subject,
        "typ": "Bearer",
        "azp": os.environ.get("CLIENT") or "demo-app",
        "scope": os.environ.get("SCOPE", "openid email user-data-set user-data-get"),
        "iat": now,
        "exp": now + int(lifetime),
        "jti": str(uuid.uuid4()),
        "email": "developer@localhost",
        "email_verified": True,
    }
    if audience := os.environ.get("JWT_AUDIENCE"):
        claims["aud"] = audience
    if environment.is_set("JWT_SECRET"):
        secret = os.environ.get("JWT_SECRET") or Path(os.environ["JWT_SECRET_FILE"]).read_text().rstrip("\r\n")
        algorithm = (os.environ.get("JWT_ALGORITHMS") or "HS256").split(",")[0]
        return jwt.encode(claims, secret, algorithm)
    if not environment.trusts_own_key():
        raise ValueError("The service trusts the keys of a provider, so only that provider can issue a token.")
    environment.make_key_pair()
    return jwt.encode(claims, environment.PRIVATE_KEY.read_bytes(), "RS256")


if __name__ == "__main__":
    try:
        print(mint())
    except ValueError as problem:
        sys.exit(str(problem))
