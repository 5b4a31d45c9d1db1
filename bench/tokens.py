"""RS256 access tokens such as a Keycloak realm issues, many at once."""

import hashlib
import os
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://login.example/realms/bench"
APP = "bench-app"
LIFETIME_SECONDS = 86_400
# The `sub` of user n in SQL; `_user_id` is the same in Python.
USER_ID_SQL = "md5(n::text)::uuid::text"


class Issuer:
    """An identity provider: a key pair made for one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public_key = self._key.public_key()
        self.public_key = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def tokens(self, count: int, users: int) -> Path:
        """A file of `count` tokens, no two alike, one in a line; they go round the first `users` users."""
        file = self._folder / f"tokens-{count}-{users}"
        if not file.exists():
            cores = os.cpu_count() or 1
            shares = [range(count * n // cores, count * (n + 1) // cores) for n in range(cores)]
            secret = jwt.algorithms.RSAAlgorithm.to_jwk(self._key)
            with ProcessPoolExecutor(cores) as pool, file.open("w", encoding="ascii") as lines:
                for tokens in pool.map(partial(_sign, secret, users), shares):
                    lines.writelines(f"{token}\n" for token in tokens)
        return file


def _sign(jwk: str, users: int, numbers: range) -> list[str]:
    key = jwt.PyJWK.from_json(jwk).key
    now = int(time.time())
    return [jwt.encode(_claims(n % users + 1, now), key, "RS256", {"kid": "bench"}) for n in numbers]


def _claims(user: int, now: int) -> dict[str, object]:
    return {
        "exp": now + LIFETIME_SECONDS,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "iss": ISSUER,
        "sub": _user_id(user),
        "typ": "Bearer",
        "azp": APP,
        "sid": str(uuid.uuid4()),
        "scope": "openid email user-data-set user-data-get",
        "email_verified": True,
        "email": f"user{user}@mail.example",
    }


def _user_id(user: int) -> str:
    return str(uuid.UUID(hashlib.md5(str(user).encode(), usedforsecurity=False).hexdigest()))
