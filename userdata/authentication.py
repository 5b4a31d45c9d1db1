"""The bearer token → a principal, or why not."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from userdata.exceptions import TokenInvalid, TokenMissing
from userdata.identity import Principal, Verified

if TYPE_CHECKING:
    from userdata.service import Service


class AccessTokenAuthentication(JWTAuthentication):
    """simplejwt's steps; what makes a token good is in `userdata.identity`, and the principal comes from it alone."""

    async def authenticate(self, request: Request) -> tuple[Principal, Verified]:  # type: ignore[override]
        """`request.user` and `request.auth`."""
        header = self.get_header(request)
        raw_token = self.get_raw_token(header) if header else None
        if raw_token is None:
            raise TokenMissing("The header Authorization with a bearer token is missing.")
        service: Service = request._request.scope["service"]  # type: ignore[attr-defined]
        verified = await service.identity.verify(raw_token)
        return verified.principal, verified

    def get_raw_token(self, header: bytes) -> bytes | None:
        """The scheme is matched without regard to case (RFC 9110 §11.1)."""
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        token = token.strip(b" ")
        if not token:
            raise TokenInvalid("The header Authorization has no token.")
        return token
