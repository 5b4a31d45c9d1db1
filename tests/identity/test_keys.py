"""Which keys can be configured, and which algorithms go with them."""

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.x509.oid import NameOID

from tests.identity.door import NOW, at_once, identity, outcome
from tests.tokens import EC_KEYS, ED_KEY, OTHER_RSA_KEY, RSA_KEY, public_pem, token
from userdata.identity import KeyStatus

pytestmark = pytest.mark.usefixtures("clock")

SECRET = "a shared secret of more than 64 bytes, " * 2
FAMILIES = {
    **{alg: (SECRET, SECRET, alg) for alg in ("HS256", "HS384", "HS512")},
    **{alg: (RSA_KEY, "", alg) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    **{alg: (key, "", alg) for alg, key in EC_KEYS.items()},
    "EdDSA": (ED_KEY, "", "EdDSA"),
    "EdDSA with Ed448": (ed448.Ed448PrivateKey.generate(), "", "EdDSA"),
}


@pytest.mark.parametrize(("key", "secret", "alg"), FAMILIES.values(), ids=FAMILIES.keys())
def test_each_algorithm_verifies_with_its_kind_of_key(key: Any, secret: str, alg: str) -> None:
    trust: dict[str, Any] = {"secret": secret, "public_key": "" if secret else public_pem(key), "algorithms": [alg]}
    bearer = token(key=key, alg=alg)
    head, payload, signature = bearer.split(".")
    damaged = f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"

    assert outcome(bearer, **trust) == "good"
    assert outcome(token(key=key, alg=alg, exp=NOW - 3600), **trust) == "expired: The token has expired."
    assert outcome(damaged, **trust) == "The token's signature does not verify."
    assert outcome(f"{head}.{payload}.AAAA", **trust) == "The token's signature does not verify."
    other = token(key=OTHER_RSA_KEY, alg="RS256")
    refused = "signature does not verify" if alg == "RS256" else "algorithm is not accepted"
    assert outcome(other, **trust) == f"The token's {refused}."


def test_several_algorithms_of_one_family_may_be_allowed() -> None:
    trust: dict[str, Any] = {"algorithms": ["RS256", "PS512"]}

    assert outcome(token(alg="RS256"), **trust) == "good"
    assert outcome(token(alg="PS512"), **trust) == "good"
    assert outcome(token(alg="RS512"), **trust) == "The token's algorithm is not accepted."
    assert identity(**trust).algorithms == ["RS256", "PS512"]


@pytest.mark.parametrize(
    ("trust", "algorithms"),
    [
        ({"public_key": "", "secret": SECRET}, ["HS256"]),
        ({"public_key": public_pem(RSA_KEY)}, ["RS256"]),
        ({"public_key": public_pem(EC_KEYS["ES256"])}, ["ES256"]),
        ({"public_key": public_pem(EC_KEYS["ES384"])}, ["ES384"]),
        ({"public_key": public_pem(EC_KEYS["ES512"])}, ["ES512"]),
        ({"public_key": public_pem(ED_KEY)}, ["EdDSA"]),
        ({"public_key": ""}, ["RS256"]),
        ({"public_key": "", "jwks_url": "https://issuer.example/keys"}, ["RS256"]),
    ],
)
def test_the_algorithm_follows_from_the_key_if_none_is_named(trust: dict[str, Any], algorithms: list[str]) -> None:
    assert identity(**trust).algorithms == algorithms


def test_a_certificate_gives_its_key() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    today = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, RSA_KEY.public_key(), 7, today, today + datetime.timedelta(days=1))
        .sign(RSA_KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )

    assert outcome(token(), public_key=certificate) == "good"


def test_a_configured_key_is_always_usable() -> None:
    door = identity()

    assert door.status() == KeyStatus(usable=True, age_seconds=None, detail="configured")
    at_once(door.start())
    at_once(door.close())
    assert outcome(token(), door) == "good"


RSA_PEM = public_pem(RSA_KEY)
PRIVATE_PEM = RSA_KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
WEAK_PEM = public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))
NO_PEM = "JWT_PUBLIC_KEY can't be used: it is not a public key or certificate in PEM."
UNFIT = "RSA keys need 2048 bits, EC keys a NIST curve."

REFUSED = {
    "no issuer": ({"issuer": ""}, "JWT_ISSUER is not set: the service must know whose tokens to trust."),
    "two sources of keys": ({"secret": SECRET}, "JWT_SECRET and JWT_PUBLIC_KEY are set; keys come from one of them."),
    "three sources of keys": (
        {"secret": SECRET, "jwks_url": "https://issuer.example/keys"},
        "JWT_SECRET and JWT_PUBLIC_KEY and JWT_JWKS_URL are set; keys come from one of them.",
    ),
    "a secret of 31 bytes": ({"public_key": "", "secret": "s" * 31}, "JWT_SECRET must have at least 32 bytes."),
    "a public key as the secret": (
        {"public_key": "", "secret": RSA_PEM},
        "JWT_SECRET is a key in PEM, which may be public; a public key is JWT_PUBLIC_KEY.",
    ),
    "no PEM": ({"public_key": "not a key"}, NO_PEM),
    "half a PEM": ({"public_key": RSA_PEM[:200]}, NO_PEM),
    "a private key": ({"public_key": PRIVATE_PEM}, NO_PEM),
    "half a certificate": ({"public_key": "-----BEGIN CERTIFICATE-----\nMIIB"}, NO_PEM),
    "RSA of 1024 bits": ({"public_key": WEAK_PEM}, f"JWT_PUBLIC_KEY can't be used: {UNFIT}"),
    "a curve that JWTs rarely use": (
        {"public_key": public_pem(ec.generate_private_key(ec.SECP256K1()))},
        f"JWT_PUBLIC_KEY can't be used: {UNFIT}",
    ),
    "a key for agreement": (
        {"public_key": public_pem(x25519.X25519PrivateKey.generate())},
        "JWT_PUBLIC_KEY can't be used: its type of key signs no tokens.",
    ),
    "mixed families": (
        {"algorithms": ["RS256", "HS256"]},
        "JWT_ALGORITHMS mixes HS algorithms with those of public keys; use one family.",
    ),
    "the algorithm none": (
        {"algorithms": ["RS256", "none"]},
        "JWT_ALGORITHMS names none, which this service does not accept.",
    ),
    "an HS algorithm without a secret": (
        {"public_key": "", "algorithms": ["HS256"]},
        "JWT_ALGORITHMS names an HS algorithm, which needs JWT_SECRET.",
    ),
    "a secret for RS256": (
        {"public_key": "", "secret": SECRET, "algorithms": ["RS256"]},
        "JWT_ALGORITHMS names RS256, which the configured key does not fit.",
    ),
    "a public key for HS256": (
        {"algorithms": ["HS256"]},
        "JWT_ALGORITHMS names HS256, which the configured key does not fit.",
    ),
    "an EC key for RS256": (
        {"public_key": public_pem(EC_KEYS["ES256"]), "algorithms": ["ES256", "RS256"]},
        "JWT_ALGORITHMS names RS256, which the configured key does not fit.",
    ),
    "a P-256 key for ES384": (
        {"public_key": public_pem(EC_KEYS["ES256"]), "algorithms": ["ES384"]},
        "JWT_ALGORITHMS names ES384, which the configured key does not fit.",
    ),
    "a claim without a place for the name": (
        {"identity_provider_claim": "user_id"},
        "JWT_IDENTITY_PROVIDER_CLAIM must hold {} once, in place of the provider's name.",
    ),
    "a claim with two places for the name": (
        {"identity_provider_claim": "{}_{}"},
        "JWT_IDENTITY_PROVIDER_CLAIM must hold {} once, in place of the provider's name.",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_configuration_that_does_not_go_together_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - its whole text is compared
        identity(**change)

    assert str(refusal.value) == sentence


@pytest.mark.parametrize("name", ["", "Google", "-google", "_google", "goo gle", "google\n", "g" * 65, "gü", "a{}"])
def test_a_bad_name_of_an_identity_provider_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^JWT_IDENTITY_PROVIDERS "):
        identity(identity_providers=["telegram", name])


@pytest.mark.parametrize("name", ["g", "7", "google", "my_idp-2", "g" * 64])
def test_a_good_name_of_an_identity_provider_is_accepted(name: str) -> None:
    assert identity(identity_providers=[name]).algorithms == ["RS256"]
