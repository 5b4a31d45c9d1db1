"""The scopes that a view requires of the token."""

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from userdata.exceptions import ScopeMissing
from userdata.tokens import Principal

if TYPE_CHECKING:
    from userdata.views import UserDataView


class HasRequiredScopes(BasePermission):
    """Every one of the view's `required_scopes`, matched exactly."""

    def has_permission(self, request: Request, view: "UserDataView") -> bool:  # type: ignore[override]
        principal: Principal = request.user  # type: ignore[assignment]
        if not view.required_scopes <= principal.scopes:
            raise ScopeMissing(view.required_scopes)
        return True
