"""Start-up checks: what would run unsafely does not run.

Each has a stable id. `manage.py check` lists them; `serve` and the application refuse to start on an error.
"""

from collections.abc import Sequence
from typing import Any

from corsheaders.checks import check_settings as check_cors
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from userdata.identity import Identity
from userdata.service import identity_configuration

MIN_SECRET_KEY_CHARS = 50

# What the views of this service leave to REST_FRAMEWORK and SIMPLE_JWT; the views themselves name the rest.
EFFECTIVE = {
    "REST_FRAMEWORK": {
        "DEFAULT_SCHEMA_CLASS",
        "DEFAULT_THROTTLE_RATES",
        "EXCEPTION_HANDLER",
        "NUM_PROXIES",
        "UNAUTHENTICATED_TOKEN",
        "UNAUTHENTICATED_USER",
    },
    "SIMPLE_JWT": {"AUTH_HEADER_NAME"},
}


@register(Tags.security)
def check_settings(app_configs: object, **kwargs: Any) -> list[CheckMessage]:
    return [*_service(), *_tokens(), *_without_effect()]


def require_safe_settings() -> None:
    """Raise `ImproperlyConfigured` where the service would run unsafely."""
    refuse_errors([*check_settings(None), *check_cors()])


def refuse_errors(found: Sequence[CheckMessage]) -> None:
    """Raise `ImproperlyConfigured` with a sentence for each error among what checks found."""
    if errors := [message for message in found if message.is_serious()]:
        raise ImproperlyConfigured("\n".join(f"{error.msg} ({error.id})" for error in errors))


def _service() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEBUG and settings.PUBLIC_BIND:
        found.append(Error("DEBUG is on and HOST is not a loopback address; change one of them.", id="userdata.E001"))
    if len(settings.SECRET_KEY) < MIN_SECRET_KEY_CHARS:
        found.append(Error(f"SECRET_KEY must have at least {MIN_SECRET_KEY_CHARS} characters.", id="userdata.E002"))
    if settings.RATE_LIMIT and not settings.REDIS_URL and not settings.DEBUG:
        found.append(
            checks.Warning(
                "RATE_LIMIT is set without REDIS_URL: each worker counts by itself, so callers may send several times"
                " as much.",
                id="userdata.W003",
            )
        )
    return found


def _tokens() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.JWT_ISSUER:
        found.append(Error("JWT_ISSUER is not set: the service must know whose tokens to trust.", id="userdata.E003"))
    else:
        try:
            Identity(identity_configuration())
        except ValueError as problem:
            found.append(Error(str(problem), id="userdata.E004"))
    if settings.JWT_JWKS_URL.startswith("http:"):
        found.append(
            checks.Warning(
                "JWT_JWKS_URL is plain http: whoever can change its answers can log anyone in.", id="userdata.W002"
            )
        )
    if not settings.JWT_AUDIENCE:
        found.append(
            checks.Warning("JWT_AUDIENCE is not set: tokens for other services are accepted too.", id="userdata.W001")
        )
    return found


def _without_effect() -> list[CheckMessage]:
    return [
        Error(f"{name}['{key}'] has no effect on the views of this service.", id="userdata.E005")
        for name, effective in EFFECTIVE.items()
        for key in getattr(settings, name, {})
        if key not in effective
    ]
