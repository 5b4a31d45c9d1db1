"""Who is calling: an access token in, a `Principal` out. Knows neither HTTP requests nor Django."""

from hashlib import sha256

from userdata.identity.claims import TokenExpired, TokenInvalid, TokenRefused, Verified, read_claims, verify_signature
from userdata.identity.configuration import Configuration
from userdata.identity.discovery import KeysEndpoint
from userdata.identity.keys import FixedKey, KeyStatus, KeysUnavailable
from userdata.identity.principal import Principal, normalise_wallet
from userdata.identity.provider import ProviderKeys
from userdata.identity.verified import VerifiedTokens
from userdata.metrics import TOKENS_KNOWN, TOKENS_NEW

__all__ = [
    "Configuration",
    "Identity",
    "KeyStatus",
    "KeysUnavailable",
    "Principal",
    "TokenExpired",
    "TokenInvalid",
    "TokenRefused",
    "Verified",
    "normalise_wallet",
]


class Identity:
    """Verifies access tokens as configured; raises `ValueError` with one sentence where that does not go together."""

    def __init__(self, configuration: Configuration) -> None:
        key = configuration.key()
        self.algorithms = configuration.allowed_algorithms(key)
        self._configuration = configuration
        self._account_claims = configuration.account_claims()
        self._verified = VerifiedTokens()
        self._keys: FixedKey | ProviderKeys
        if key:
            self._keys = FixedKey(key)
        else:
            endpoint = KeysEndpoint(configuration.jwks_url, configuration.issuer, self.algorithms)
            self._keys = ProviderKeys(endpoint, configuration.refresh_seconds, configuration.max_age_seconds)

    async def start(self) -> None:
        """Begin to fetch the provider's keys in the background; once begun, nothing more."""
        self._keys.start()

    async def close(self) -> None:
        await self._keys.close()

    def status(self) -> KeyStatus:
        return self._keys.status()

    async def verify(self, token: bytes) -> Verified:
        """What the token says; without suspending if it was verified before.

        Raises `TokenInvalid`, `TokenExpired`, or `KeysUnavailable` where that can't be told now.
        """
        trusted, digest = self._configuration, sha256(token).digest()
        verified = self._verified.get(digest, self._keys.generation)
        if verified is not None:
            TOKENS_KNOWN.inc()
        else:
            TOKENS_NEW.inc()
            claims = await verify_signature(token, self.algorithms, self._keys.find)
            verified = read_claims(claims, trusted.issuer, trusted.audience, self._account_claims)
            # Nothing was awaited since the key was found: it is of the generation of this moment.
            self._verified.add(digest, self._keys.generation, verified)
        verified.check_time(trusted.leeway_seconds)
        return verified
