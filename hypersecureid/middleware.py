"""Middleware for browsers: API paths carry no session, cookie or CSRF check."""

from collections.abc import Callable, Mapping, Sequence
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
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class Cors(CorsMiddleware):
    def check_preflight(self, request: HttpRequest) -> HttpResponseBase | None:
        response = super().check_preflight(request)
        if response is not None:
            del response["Content-Type"]  # of nothing
        return response


class BrowserMiddleware:
    """All that browsers need, each part where it is needed; an app's own API calls pass it by at one look.

    CORS headers are for the requests that a web page makes: only those carry an Origin.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._view = get_response
        self._csrf: Any = CsrfViewMiddleware(
            AuthenticationMiddleware(MessageMiddleware(XFrameOptionsMiddleware(get_response)))
        )
        self._admin: Any = SecurityMiddleware(SessionMiddleware(CommonMiddleware(self._csrf)))
        self._pages: Any = WhiteNoiseMiddleware(self._page)
        self._other_origins: Any = Cors(self._by_path)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "HTTP_ORIGIN" in request.META:
            return self._other_origins(request)  # type: ignore[no-any-return]
        return self._by_path(request)

    def _by_path(self, request: HttpRequest) -> HttpResponseBase:
        return (self._view if request.path_info.startswith("/user-data/") else self._pages)(request)

    def _page(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_admins(request):
            return self._view(request)
        # Django's database connection is opened and closed by age where it is used, not around every API request.
        close_old_connections()
        try:
            return self._admin(request)  # type: ignore[no-any-return]
        finally:
            close_old_connections()

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        """CSRF is checked when the view is known, which may be exempt."""
        if not _is_admins(request):
            return None
        return self._csrf.process_view(request, view, args, kwargs)  # type: ignore[no-any-return]


def _is_admins(request: HttpRequest) -> bool:
    return request.path_info.startswith("/admin/")
