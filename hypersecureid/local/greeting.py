"""What `make run` says once the service is ready: where it is, and a call to try."""

import shlex
import sys
import threading
import time
from urllib.request import ProxyHandler, build_opener

from django.conf import settings

from hypersecureid.local import environment, token

READY_SECONDS = 30
# The service is asked directly, whatever proxy the environment names.
directly = build_opener(ProxyHandler({}))


def greet(started: threading.Event) -> None:
    """Wait until the service is ready, or should be, set the event, and print."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)
    base = f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(f"{base}/readyz"):
        if time.monotonic() > deadline:
            started.set()
            print(f"{base}/readyz does not say that the service is ready; see there why.", flush=True)
            return
    started.set()
    print(f"Ready on {base} (admin: {base}/admin/, reference: {base}/docs). Ctrl-C ends it. Try:\n", flush=True)
    print(_curl(base), flush=True)


def _answers(url: str) -> bool:
    time.sleep(0.1)
    try:
        with directly.open(url, timeout=3) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _curl(base: str) -> str:
    """A call to paste; only a terminal gets to see the token itself."""
    try:
        bearer = token.mint()
        if not sys.stdout.isatty():
            bearer = f"$(make -s -C {shlex.quote(str(environment.PROJECT))} token)"
    except ValueError:
        bearer = "<a token from your provider>"
    return (
        f"curl {base}/user-data/set -H 'Content-Type: application/json' \\\n"
        f'  -H "Authorization: Bearer {bearer}" \\\n'
        """  -d '{"value_key": "greeting", "value_data": "hello"}'"""
    )
