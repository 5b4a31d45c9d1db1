"""What a token has to permit: the scopes of the endpoint, and the proof that its storage asks for."""

from typing import Protocol

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from userdata.exceptions import AccessDenied
from userdata.identity import Principal


class Endpoint(Protocol):
    """What a permission looks at of a view."""

    @property
    def required_scopes(self) -> frozenset[str]: ...
    def authorize(self, principal: Principal) -> None: ...


class HasRequiredScopes(BasePermission):
    """Every one of the view's `required_scopes`, matched exactly."""

    def has_permission(self, request: Request, view: Endpoint) -> bool:  # type: ignore[override]
        principal: Principal = request.user  # type: ignore[assignment]
        wanted = view.required_scopes
        if not wanted <= principal.scopes:
            raise AccessDenied(f"The token needs the scopes {' '.join(sorted(wanted))}.", wanted)
        return True


class ProvesOwner(BasePermission):
    """What the view's storage wants of any token, before it looks at the request."""

    def has_permission(self, request: Request, view: Endpoint) -> bool:  # type: ignore[override]
        view.authorize(request.user)  # type: ignore[arg-type]
        return True
