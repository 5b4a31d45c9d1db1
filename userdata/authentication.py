"""The bearer token → a principal, or why not."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from userdata.exceptions import ServiceUnavailable, TokenExpired, TokenInvalid, TokenMissing
from userdata.keys import KeysUnavailable
from userdata.tokens import Principal, Verified, VerifiedTokens

__all__ = ["AccessTokenAuthentication", "Principal"]


class AccessTokenAuthentication(JWTAuthentication):
    """simplejwt's steps, with this service's answers; the principal comes from the token alone."""

    verified_tokens: ClassVar = VerifiedTokens()

    def authenticate(self, request: Request) -> tuple[Principal, Verified]:  # type: ignore[override]
        header = self.get_header(request)
        raw_token = self.get_raw_token(header) if header else None
        if raw_token is None:
            raise TokenMissing("The header Authorization with a bearer token is missing.")
        verified = self.get_validated_token(raw_token)
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

    def get_validated_token(self, raw_token: bytes) -> Verified:  # type: ignore[override]
        try:
            return self.verified_tokens.get(raw_token)
        except ExpiredTokenError as cause:
            raise TokenExpired(str(cause)) from cause
        except TokenError as cause:
            raise TokenInvalid(str(cause.__cause__ or cause)) from cause
        except KeysUnavailable as cause:
            raise ServiceUnavailable("The keys that verify tokens can't be had now.") from cause
