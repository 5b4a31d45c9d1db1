"""Reading a JSON Web Key Set: which of its keys verify what. PyJWT makes the keys; it leaves open what they are for."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError

from userdata.keys import PublicKey, fits

# `kty` to the name under which PyJWT reads such a key. No `oct`: a published secret is none (RFC 8725 §3.5).
READERS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


@dataclass(frozen=True, slots=True)
class KeySet:
    """Of the keys that a provider publishes, those that verify tokens."""

    keys: Mapping[tuple[str | None, str], PublicKey]  # by `kid` and `alg`; without `kid`, where just one key fits `alg`
    kids: frozenset[str]
    size: int

    def find(self, kid: str | None, alg: str) -> PublicKey | None:
        return self.keys.get((kid, alg))


def read_keys(members: Iterable[object], algorithms: Collection[str]) -> KeySet:
    """Those members of a JSON Web Key Set that verify one of the algorithms.

    What is not understood is passed over, as RFC 7517 §5 bids. Of two keys that share a `kid` and fit the same
    algorithm, the first counts.
    """
    keys: dict[tuple[str | None, str], PublicKey] = {}
    fitting: dict[str, list[PublicKey]] = {alg: [] for alg in algorithms}
    kids: set[str] = set()
    size = 0
    for published in members:
        if not isinstance(published, dict):
            continue
        member = {name: value for name, value in published.items() if value is not None}  # some say null for 'absent'
        key = _read_key(member)
        if not key:
            continue
        kid = member.get("kid")
        algs = [alg for alg in algorithms if fits(key, alg) and member.get("alg", alg) == alg]
        for alg in algs:
            fitting[alg].append(key)
            if isinstance(kid, str):
                keys.setdefault((kid, alg), key)
                kids.add(kid)
        size += bool(algs)
    keys.update({(None, alg): fit[0] for alg, fit in fitting.items() if len(fit) == 1})
    return KeySet(keys, frozenset(kids), size)


def _read_key(jwk: dict[str, object]) -> PublicKey | None:
    """The key that a member of a set holds, if it is public and for signatures (RFC 7517 §4)."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    reader = READERS.get(str(jwk.get("kty")))
    try:
        key = PyJWK(jwk, reader).key if reader else None
    except (PyJWTError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) else None
