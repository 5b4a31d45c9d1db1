"""Django's middleware for browsers, for the admin alone: API paths carry no session, cookie or CSRF check."""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware


class AdminOnly:
    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/admin/"):
            return super().__call__(request)  # type: ignore[misc, no-any-return]
        return self.get_response(request)  # type: ignore[no-any-return]


class AdminSecurityMiddleware(AdminOnly, SecurityMiddleware): ...


class AdminSessionMiddleware(AdminOnly, SessionMiddleware): ...


class AdminCommonMiddleware(AdminOnly, CommonMiddleware): ...


class AdminCsrfMiddleware(AdminOnly, CsrfViewMiddleware): ...


class AdminAuthenticationMiddleware(AdminOnly, AuthenticationMiddleware): ...


class AdminMessageMiddleware(AdminOnly, MessageMiddleware): ...


class AdminFrameOptionsMiddleware(AdminOnly, XFrameOptionsMiddleware): ...
