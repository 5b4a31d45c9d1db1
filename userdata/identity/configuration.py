"""Whose tokens are trusted, and which key and algorithms verify them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from userdata.identity.keys import ASYMMETRIC, SYMMETRIC, VerificationKey, algorithms_of, read_public_key

_provider_name = re.compile("[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Configuration:
    """The settings named JWT_…; "" stands for 'not set'. What does not go together raises `ValueError` when used."""

    issuer: str
    audience: str = ""
    algorithms: Sequence[str] = ()
    secret: str = ""
    public_key: str = ""
    jwks_url: str = ""
    refresh_seconds: float = 300
    max_age_seconds: float = 86_400
    leeway_seconds: float = 30
    identity_providers: Sequence[str] = ()
    identity_provider_claim: str = "{}_user_id"

    def key(self) -> VerificationKey | None:
        """The one key that is configured; None where a provider publishes the keys."""
        if not self.issuer:
            raise ValueError("JWT_ISSUER is not set: the service must know whose tokens to trust.")
        sources = {"JWT_SECRET": self.secret, "JWT_PUBLIC_KEY": self.public_key, "JWT_JWKS_URL": self.jwks_url}
        if len(named := [name for name, value in sources.items() if value]) > 1:
            raise ValueError(f"{' and '.join(named)} are set; keys come from one of them.")
        if "-----BEGIN" in self.secret:
            raise ValueError("JWT_SECRET is a key in PEM, which may be public; a public key is JWT_PUBLIC_KEY.")
        if self.secret and not algorithms_of(self.secret.encode()):
            raise ValueError("JWT_SECRET must have at least 32 bytes.")
        try:
            return read_public_key(self.public_key) if self.public_key else self.secret.encode() or None
        except ValueError as problem:
            raise ValueError(f"JWT_PUBLIC_KEY can't be used: {problem}.") from problem

    def allowed_algorithms(self, key: VerificationKey | None) -> list[str]:
        """As configured, or the one that the key is mostly used with."""
        named = list(self.algorithms)
        if unknown := [alg for alg in named if alg not in SYMMETRIC + ASYMMETRIC]:
            raise ValueError(f"JWT_ALGORITHMS names {', '.join(unknown)}, which this service does not accept.")
        if (symmetric := set(SYMMETRIC).intersection(named)) and symmetric != set(named):
            raise ValueError("JWT_ALGORITHMS mixes HS algorithms with those of public keys; use one family.")
        if symmetric and not key:
            raise ValueError("JWT_ALGORITHMS names an HS algorithm, which needs JWT_SECRET.")
        if key and (unfit := [alg for alg in named if alg not in algorithms_of(key)]):
            raise ValueError(f"JWT_ALGORITHMS names {', '.join(unfit)}, which the configured key does not fit.")
        return named or [algorithms_of(key)[0] if key else "RS256"]

    def account_claims(self) -> Mapping[str, str]:
        """By identity provider, the claim that holds the id of the user's account there."""
        if not all(_provider_name.fullmatch(name) for name in self.identity_providers):
            raise ValueError("JWT_IDENTITY_PROVIDERS takes names of 1 to 64 small letters, digits, _ and -.")
        if self.identity_provider_claim.count("{}") != 1:
            raise ValueError("JWT_IDENTITY_PROVIDER_CLAIM must hold {} once, in place of the provider's name.")
        return {name: self.identity_provider_claim.replace("{}", name) for name in self.identity_providers}
