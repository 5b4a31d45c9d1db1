"""Keys as providers publish them, and tokens signed with them."""

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
    "ES256K": ec.SECP256K1(),
}


def private_key(kid: str, alg: str = "ES256", bits: int = 2048) -> Any:
    """The private key of that name: the same one each time."""
    return _private_key(kid, alg, bits)


@cache
def _private_key(kid: str, alg: str, bits: int) -> Any:
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg])
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, bits)


def jwk(kid: Any, alg: str = "ES256", /, *, bits: int = 2048, **members: Any) -> dict[str, Any]:
    """The published half of the key of that name; a member given as None is left out."""
    published = {**_jwk(kid, alg, bits), "kid": kid, "use": "sig", "alg": alg, **members}
    return {name: value for name, value in published.items() if value is not None}


def private_jwk(kid: str, alg: str = "ES256") -> dict[str, Any]:
    key = private_key(kid, alg)
    return {**jwt.get_algorithm_by_name(alg).to_jwk(key, as_dict=True), "kid": kid}


def signed(kid: str, alg: str = "ES256", payload: bytes = b"payload") -> str:
    return jwt.PyJWS().encode(payload, private_key(kid, alg), alg, {"kid": kid})


def _jwk(kid: str, alg: str, bits: int) -> dict[str, Any]:
    key = private_key(kid, alg, bits).public_key()
    name = "ES256" if alg in CURVES else alg
    return dict(json.loads(jwt.get_algorithm_by_name(name).to_jwk(key)))
