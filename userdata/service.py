"""What a worker owns, from its start to its end: the keys that verify tokens, connections, and counts of requests."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import connections

from userdata import metrics
from userdata.identity import Configuration, Identity
from userdata.parsers import BodyReader
from userdata.request_log import RequestLog
from userdata.storage import Store

if TYPE_CHECKING:
    from userdata.rate_limit import RateLimit


def identity_configuration() -> Configuration:
    """What the settings say of tokens."""
    return Configuration(
        issuer=settings.JWT_ISSUER,
        audience=settings.JWT_AUDIENCE,
        algorithms=settings.JWT_ALGORITHMS,
        secret=settings.JWT_SECRET,
        public_key=settings.JWT_PUBLIC_KEY,
        jwks_url=settings.JWT_JWKS_URL,
        refresh_seconds=settings.JWT_JWKS_REFRESH_SECONDS,
        max_age_seconds=settings.JWT_JWKS_MAX_AGE_SECONDS,
        leeway_seconds=settings.JWT_LEEWAY_SECONDS,
        identity_providers=settings.JWT_IDENTITY_PROVIDERS,
        identity_provider_claim=settings.JWT_IDENTITY_PROVIDER_CLAIM,
    )


def connection_parameters() -> dict[str, Any]:
    """psycopg's parameters for the database that Django's settings name."""
    django_only = {"context", "cursor_factory", "prepare_threshold", "client_encoding"}
    parameters = connections["default"].get_connection_params()
    return {name: value for name, value in parameters.items() if name not in django_only}


def rate_limit() -> "RateLimit | None":
    """The limit that the settings ask for, if any."""
    if not settings.RATE_LIMIT:
        return None
    from userdata.rate_limit import RateLimit  # the client of Redis takes some megabytes, which most can do without

    return RateLimit(settings.RATE_LIMIT, redis_url=settings.REDIS_URL, secret=settings.SECRET_KEY)


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that requests share; views find it in the scope of their request."""

    identity: Identity
    store: Store
    bodies: BodyReader = field(default_factory=BodyReader)
    request_log: RequestLog | None = field(default_factory=RequestLog.from_settings)
    rate_limit: "RateLimit | None" = None

    @classmethod
    def from_settings(cls) -> Self:
        return cls(Identity(identity_configuration()), Store(connection_parameters()), rate_limit=rate_limit())

    async def start(self) -> None:
        """Begin to fetch keys and to connect; neither is waited for."""
        metrics.worker_started(settings.VERSION)
        await self.identity.start()
        await self.store.open()

    async def close(self) -> None:
        await self.identity.close()
        await self.store.close()
        if self.rate_limit is not None:
            await self.rate_limit.close()
