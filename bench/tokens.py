"""RS256 access tokens such as a Keycloak realm issues, many at once."""

import os
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.workload import APP, ISSUER, USERS, user_id

LIFETIME_SECONDS = 86_400
KEY_ID = "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"


@dataclass(frozen=True)
class Signer:
    """The identity provider's key pair, made for one run."""

    private_pem: bytes
    public_key_file: Path

    @classmethod
    def create(cls, folder: Path) -> "Signer":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public_key_file = folder / "issuer.pem"
        public_key_file.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        private_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(private_pem, public_key_file)

    def write_users(self, file: Path, count: int = USERS) -> Path:
        """Write `count` tokens, no two alike, in the form of `Load.users_file`; they go round the users."""
        cores = os.cpu_count() or 1
        share = -(-count // cores)
        starts = range(0, count, share)
        with ProcessPoolExecutor(cores) as pool:
            parts = pool.map(
                _sign, [self.private_pem] * len(starts), starts, [min(start + share, count) for start in starts]
            )
            with file.open("w", encoding="ascii") as lines:
                for part in parts:
                    lines.writelines(part)
        return file


def _sign(private_pem: bytes, start: int, end: int) -> list[str]:
    key = serialization.load_pem_private_key(private_pem, password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    now = int(time.time())
    lines = []
    for n in range(start, end):
        user = n % USERS + 1
        claims = {
            "exp": now + LIFETIME_SECONDS,
            "iat": now,
            "auth_time": now,
            "jti": str(uuid.uuid4()),
            "iss": ISSUER,
            "sub": user_id(user),
            "typ": "Bearer",
            "azp": APP,
            "sid": str(uuid.uuid4()),
            "acr": "1",
            "scope": "openid email user-data-set user-data-get",
            "email_verified": True,
            "email": f"user{user}@mail.example",
        }
        token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": KEY_ID})
        lines.append(f"{user_id(user)}\tBearer {token}\n")
    return lines
