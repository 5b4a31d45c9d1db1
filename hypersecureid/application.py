"""The application as a worker calls it: a request as WSGI describes it, and Django's response."""

import io
import os
from typing import Any

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
get_wsgi_application()

from hypersecureid.checks import require_safe_settings  # noqa: E402 - the settings come first
from hypersecureid.http.exchange import Environ, Response  # noqa: E402
from userdata import waiting  # noqa: E402
from userdata.configuration import key_source  # noqa: E402

require_safe_settings()
key_source().start()

# What renders templates, or reads files or the database by Django's own connection.
PAGES = ("/admin", "/static/", "/docs", "/openapi.json", "/metrics")

_handler = BaseHandler()
_handler.load_middleware()


def application(environ: Environ) -> Response:
    """Answer an API request on the event loop, a page in a thread. `environ` is that of PEP 3333."""
    if environ["PATH_INFO"].startswith(PAGES):
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(settings.MAX_BODY_BYTES))
        return waiting.blocking(_respond, environ)
    return _respond(environ)


def _respond(environ: Environ) -> Response:
    response: Any = _handler.get_response(WSGIRequest(environ))
    try:
        content = b"".join(response) if response.streaming else response.content
    finally:
        if response.streaming:
            response.close()
    headers = [*response.items(), *(("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values())]
    if not response.has_header("Content-Length") and response.status_code not in (204, 304):
        headers.append(("Content-Length", str(len(content))))
    return response.status_code, headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else content
