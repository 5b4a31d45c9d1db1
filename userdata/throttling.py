"""Fair use: no more than `RATE_LIMIT` from a user's app."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from userdata.identity import Principal

if TYPE_CHECKING:
    from userdata.rate_limit import RateLimit
    from userdata.service import Service


class FairUse(BaseThrottle):
    """One count for all endpoints; whose token is not accepted is not counted, since nobody knows who it is."""

    _wait: float | None = None

    def allow_request(self, request: Request, view: object) -> bool | Awaitable[bool]:  # type: ignore[override]
        """At once where there is no limit, so that nothing is awaited."""
        service: Service = request._request.scope["service"]  # type: ignore[attr-defined]
        if service.rate_limit is None:
            return True
        return self._is_allowed(service.rate_limit, request.user)  # type: ignore[arg-type]

    async def _is_allowed(self, limit: "RateLimit", principal: Principal) -> bool:
        self._wait = await limit.count(principal.sub, principal.app)
        return self._wait is None

    def wait(self) -> float | None:
        """Seconds."""
        return self._wait
