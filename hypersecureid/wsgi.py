"""The WSGI application, for Granian's workers."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
_django = get_wsgi_application()

from hypersecureid.checks import require_safe_settings  # noqa: E402 - the settings come first
from userdata.configuration import key_source  # noqa: E402

require_safe_settings()
key_source().start()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Django's application, which hands a body that is all there as a list: Granian sends that in one go."""
    response: Any = _django(environ, start_response)
    if response.streaming:
        return response  # type: ignore[no-any-return]
    try:
        return [response.content]
    finally:
        response.close()
