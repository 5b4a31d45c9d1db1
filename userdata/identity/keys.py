"""One verification key, and the algorithms that it goes with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
VerificationKey: TypeAlias = PublicKey | bytes

SYMMETRIC = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ASYMMETRIC = (*RSA, *CURVES.values(), "EdDSA")


class KeysUnavailable(Exception):
    """Whether a token is good can't be told now."""

    def __init__(self) -> None:
        super().__init__("The keys that verify tokens can't be had now.")


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Whether tokens can be verified now; `age_seconds` is None where keys do not age."""

    usable: bool
    age_seconds: float | None
    detail: str


class FixedKey:
    """The one key of the configuration: a shared secret or a public key."""

    generation = 0

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    async def find(self, kid: str | None, alg: str) -> VerificationKey | None:
        return self._key if alg in algorithms_of(self._key) else None

    def status(self) -> KeyStatus:
        return KeyStatus(usable=True, age_seconds=None, detail="configured")

    def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""


def algorithms_of(key: object) -> Sequence[str]:
    """What a key of this type, curve and size may verify, the usual algorithm first (RFC 7518 §3, RFC 8037)."""
    match key:
        case bytes() if len(key) >= 32:
            return SYMMETRIC
        case rsa.RSAPublicKey() if key.key_size >= 2048:
            return RSA
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return [CURVES[key.curve.name]]
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return ["EdDSA"]
    return []


def read_public_key(pem: str) -> PublicKey:
    """A public key or the key of a certificate, from PEM. Raises `ValueError` where it is neither, or too weak."""
    data = pem.encode()
    certificate = b"BEGIN CERTIFICATE" in data
    try:
        key = x509.load_pem_x509_certificate(data).public_key() if certificate else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise ValueError("it is not a public key or certificate in PEM") from cause
    if not isinstance(key, PublicKey):
        raise ValueError("its type of key signs no tokens")
    if not algorithms_of(key):
        raise ValueError("RSA keys need 2048 bits, EC keys a NIST curve")
    return key
