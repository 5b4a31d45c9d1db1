"""The API reference: the OpenAPI document, and a page that renders it without any outside host.

What draws them is loaded when one is first asked for: most workers never need it.
"""

import json
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from userdata.exceptions import not_found

# The browser, too, sees to it that nothing comes from elsewhere. Swagger UI draws its icons and sizes inline.
CONTENT_SECURITY_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"


@csrf_exempt
def home(request: HttpRequest) -> HttpResponse:
    """People who look at the service find the reference; a program that has lost its path is told so."""
    return redirect("/docs") if request.method in ("GET", "HEAD") else not_found(request)


@csrf_exempt
@require_safe
def document(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, in JSON."""
    return HttpResponse(_document(), content_type="application/json")


@csrf_exempt
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The document as a page, on which calls can be tried."""
    swagger_ui = "drf_spectacular_sidecar/swagger-ui-dist"
    context = {
        "title": settings.SPECTACULAR_SETTINGS["TITLE"],
        "favicon_href": static(f"{swagger_ui}/favicon-32x32.png"),
        "swagger_ui_css": static("hypersecureid/docs.css"),
        "swagger_ui_bundle": static(f"{swagger_ui}/swagger-ui-bundle.js"),
        "swagger_ui_standalone": static(f"{swagger_ui}/swagger-ui-standalone-preset.js"),
        "script_url": static("hypersecureid/docs.js"),
    }
    response = render(request, "drf_spectacular/swagger_ui.html", context)
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@cache
def _document() -> bytes:
    from userdata import openapi

    return json.dumps(openapi.document(), ensure_ascii=False).encode()
