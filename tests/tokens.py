"""Access tokens as the provider issues them, and keys to sign them with."""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://issuer.example/realms/HyperID"
USER = "7b6ac1d4-6f0c-4f7e-9a57-1f3c3a1f6a0e"
APP = "demo-app"
SCOPE = "openid email user-data-set user-data-get"

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
EC_KEYS = {alg: ec.generate_private_key(curve) for alg, curve in CURVES.items()}
ED_KEY = ed25519.Ed25519PrivateKey.generate()

ABSENT: Any = object()


def claims(**changes: Any) -> dict[str, Any]:
    """A good token's claims; a change to ABSENT leaves one out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "sub": USER,
        "typ": "Bearer",
        "azp": APP,
        "scope": SCOPE,
        "exp": now + 300,
        "iat": now,
        "auth_time": now,
        "jti": "4f5a3b0e-5a0d-4a3c-9df1-0d4b6d1f2c11",
        "sid": "0c2d3c4e-55b4-4b55-8f3c-29f3f3f0c0aa",
        "email": "user@example.com",
        "email_verified": True,
    }
    return {name: value for name, value in (good | changes).items() if value is not ABSENT}


def token(*, key: Any = RSA_KEY, alg: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A signed token, good but for the changes."""
    return jwt.encode(claims(**changes), key, alg, headers={"kid": "key-1"} | (headers or {}))


def public_pem(key: Any) -> str:
    public = key.public_key()
    pem: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()
