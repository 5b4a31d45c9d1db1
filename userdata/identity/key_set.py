"""A JSON Web Key Set: which of its keys verify what. PyJWT makes the keys; it leaves open what they are for."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError

from userdata.identity.keys import PublicKey, algorithms_of

# By `kid` and `alg`; without `kid`, where just one key fits `alg`.
KeySet: TypeAlias = Mapping[tuple[str | None, str], PublicKey]

# `kty` to the name under which PyJWT reads such a key. No `oct`: a published secret is none (RFC 8725 §3.5).
READERS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


def read_key_set(members: Iterable[object], algorithms: Collection[str]) -> KeySet:
    """Those members of a JSON Web Key Set that verify one of the algorithms.

    What is not understood is passed over, as RFC 7517 §5 bids. Of two keys that share a `kid` and fit the same
    algorithm, the first counts.
    """
    named: dict[tuple[str | None, str], PublicKey] = {}
    fitting: dict[str, list[PublicKey]] = {alg: [] for alg in algorithms}
    for published in members:
        if not isinstance(published, dict):
            continue
        member = {name: value for name, value in published.items() if value is not None}  # some say null for 'absent'
        if key := _read_key(member):
            for alg in algorithms:
                if alg in algorithms_of(key) and member.get("alg", alg) == alg:
                    fitting[alg].append(key)
                    if isinstance(kid := member.get("kid"), str):
                        named.setdefault((kid, alg), key)
    return named | {(None, alg): keys[0] for alg, keys in fitting.items() if len(keys) == 1}


def _read_key(member: dict[str, Any]) -> PublicKey | None:
    """The key that a member of a set holds, if it is public and for signatures (RFC 7517 §4)."""
    operations = member.get("key_ops", ["verify"])
    reader = READERS.get(str(member.get("kty")))
    if not reader or member.get("use", "sig") != "sig" or type(operations) is not list or "verify" not in operations:
        return None
    try:
        key = PyJWK(member, reader).key
    except (PyJWTError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) else None
