"""Django's middleware for browsers, for the admin alone: API paths carry no session, cookie or CSRF check."""

from typing import Any

from corsheaders.middleware import CorsMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin


class CorsForPages(CorsMiddleware):
    """CORS headers, for the requests that a web page makes: only those carry an Origin."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "HTTP_ORIGIN" not in request.META:
            return self.get_response(request)  # type: ignore[return-value]
        return super().__call__(request)  # type: ignore[return-value]

    def check_preflight(self, request: HttpRequest) -> HttpResponseBase | None:
        response = super().check_preflight(request)
        if response is not None:
            del response["Content-Type"]  # of nothing
        return response


class AdminOnly:
    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/admin/"):
            return super().__call__(request)  # type: ignore[misc, no-any-return]
        return self.get_response(request)  # type: ignore[no-any-return]


class AdminConnectionMiddleware(AdminOnly, MiddlewareMixin):
    """Django's database connection, opened and closed by age where it is used, not around every API request."""

    def process_request(self, request: HttpRequest) -> None:
        close_old_connections()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        close_old_connections()
        return response


class AdminSecurityMiddleware(AdminOnly, SecurityMiddleware): ...


class AdminSessionMiddleware(AdminOnly, SessionMiddleware): ...


class AdminCommonMiddleware(AdminOnly, CommonMiddleware): ...


class AdminCsrfMiddleware(AdminOnly, CsrfViewMiddleware): ...


class AdminAuthenticationMiddleware(AdminOnly, AuthenticationMiddleware): ...


class AdminMessageMiddleware(AdminOnly, MessageMiddleware): ...


class AdminFrameOptionsMiddleware(AdminOnly, XFrameOptionsMiddleware): ...
