"""Start-up checks: what would run unsafely does not run.

Each has a stable id. `manage.py check` lists them; `serve` and its workers refuse to start
on an error and log a warning.
"""

from typing import Any

import structlog
from corsheaders.checks import check_settings as check_cors
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from userdata import configuration

log = structlog.get_logger(__name__)

MIN_SECRET_KEY_CHARS = 50


@register(Tags.security)
def check_settings(app_configs: object, **kwargs: Any) -> list[CheckMessage]:
    return [*_service(), *_tokens()]


def require_safe_settings(*, warn: bool = False) -> None:
    """Raises `ImproperlyConfigured` with a sentence for each error; logs the warnings if asked to."""
    found = [*check_settings(None), *check_cors()]
    if errors := [message for message in found if message.is_serious()]:
        raise ImproperlyConfigured("\n".join(f"{error.msg} ({error.id})" for error in errors))
    if warn:
        for message in found:
            log.warning(message.msg, check=message.id)


def _service() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEBUG and settings.PUBLIC_BIND:
        found.append(Error("DEBUG is on and HOST is not a loopback address; change one of them.", id="userdata.E001"))
    if len(settings.SECRET_KEY) < MIN_SECRET_KEY_CHARS:
        found.append(Error(f"SECRET_KEY must have at least {MIN_SECRET_KEY_CHARS} characters.", id="userdata.E002"))
    return found


def _tokens() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.JWT_ISSUER:
        found.append(Error("JWT_ISSUER is not set: the service must know whose tokens to trust.", id="userdata.E003"))
    else:
        try:
            configuration.algorithms()
            configuration.key_source()
        except ImproperlyConfigured as problem:
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
