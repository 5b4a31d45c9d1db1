"""The keys that verify access tokens, wherever they come from.

Nothing here knows Django: `key_source` is given what the settings say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
VerificationKey: TypeAlias = PublicKey | bytes

SYMMETRIC = frozenset({"HS256", "HS384", "HS512"})
CURVES: Mapping[str, str] = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ASYMMETRIC = RSA | CURVES.keys() | {"EdDSA"}

MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048


class KeyNotFound(Exception):
    """No key for this `kid` and `alg`: the token that names them is invalid."""


class KeysUnavailable(Exception):
    """No usable key can be had now: nothing can be said about any token."""


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Whether tokens can be verified now; `age_seconds` is None where keys do not age."""

    usable: bool
    age_seconds: float | None
    detail: str


class KeySource(Protocol):
    """Where verification keys come from."""

    @property
    def generation(self) -> int:
        """Changes whenever the set of usable keys does."""

    def find(self, kid: str | None, alg: str) -> VerificationKey:
        """The key that a token's header names; `alg` is one of the allowed.

        Raises `KeyNotFound` or `KeysUnavailable`.
        """

    def status(self) -> KeyStatus: ...

    def start(self) -> None:
        """Begin background work, once in each process."""


class FixedKey:
    """One key from the configuration: a shared secret or a public key."""

    generation = 0

    def __init__(self, key: VerificationKey) -> None:
        self._key = key
        self._algorithms = frozenset(alg for alg in SYMMETRIC | ASYMMETRIC if fits(key, alg))

    def find(self, kid: str | None, alg: str) -> VerificationKey:
        if alg not in self._algorithms:
            raise KeyNotFound(alg)
        return self._key

    def status(self) -> KeyStatus:
        return KeyStatus(usable=True, age_seconds=None, detail="configured")

    def start(self) -> None:
        """Nothing to begin."""


def fits(key: VerificationKey, alg: str) -> bool:
    """Whether a key is of the type, curve and size that an algorithm asks for (RFC 7518 §3, RFC 8037)."""
    match key:
        case bytes():
            return alg in SYMMETRIC and len(key) >= MIN_SECRET_BYTES
        case rsa.RSAPublicKey():
            return alg in RSA and key.key_size >= MIN_RSA_BITS
        case ec.EllipticCurvePublicKey():
            return CURVES.get(alg) == key.curve.name
        case _:
            return alg == "EdDSA"


def default_algorithms(key: VerificationKey) -> list[str]:
    """The algorithm that a key is mostly used with, where none is configured."""
    return next([alg] for alg in ("HS256", "RS256", *CURVES, "EdDSA", "") if alg == "" or fits(key, alg))


def read_public_key(pem: str) -> PublicKey:
    """A public key or the key of a certificate, from PEM.

    Raises `ValueError` with a sentence where it is neither, or of a kind that signs no tokens.
    """
    data = pem.encode()
    certificate = b"BEGIN CERTIFICATE" in data
    try:
        key: object = x509.load_pem_x509_certificate(data).public_key() if certificate else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise ValueError("it is not a public key or certificate in PEM") from cause
    if not isinstance(key, PublicKey):
        raise ValueError("its type of key signs no tokens")
    return key


def mixed(algorithms: Sequence[str]) -> bool:
    """Whether secrets and public keys would be accepted side by side (RFC 8725 §3.1)."""
    return bool(SYMMETRIC.intersection(algorithms)) and bool(ASYMMETRIC.intersection(algorithms))
